"""Cohere's events as chat chunks."""

from __future__ import annotations

import pytest

from wire.cohere import cohere_chunk, cohere_extras
from wire.errors import UnsupportedContent


def message(kind, index=None, **content):
    return {"type": kind, "index": index, "delta": {"message": content}}


@pytest.mark.parametrize(
    ("event", "delta"),
    [
        (message("content-start", 0, content={"type": "text", "text": ""}), {}),
        (message("content-delta", 0, content={"text": "Hi"}), {"content": "Hi"}),
        (message("content-delta", 0, content={"thinking": "Hm."}), {"reasoning": "Hm."}),
        (message("tool-plan-delta", tool_plan="I look."), {"reasoning": "I look."}),
        (message("tool-call-start", 1, tool_calls={"id": "c", "function": {"name": "look"}}),
         {"tool_calls": [{"index": 1, "id": "c", "type": "function", "function": {"name": "look"}}]}),
        (message("tool-call-delta", 1, tool_calls={"function": {"arguments": "{}"}}),
         {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
        (message("tool-call-delta", 1, tool_calls=None), {"tool_calls": [{"index": 1, "function": {}}]}),
    ],
)  # fmt: skip
def test_deltas(event, delta):
    assert cohere_chunk(event) == {"choices": [{"index": 0, "delta": delta}]}


@pytest.mark.parametrize("kind", ["content-end", "tool-call-end", "citation-end", "of-tomorrow", None])
def test_events_that_say_nothing(kind):
    assert cohere_chunk({"type": kind}) is None


def test_the_start_has_the_id():
    assert cohere_chunk({"type": "message-start", "id": "1", "delta": {}}) == {"id": "1", "choices": []}


def test_citations_are_kept():
    told = cohere_chunk(message("citation-start", 0, citations={"start": 0}))
    assert told["citations"] == {"start": 0}


@pytest.mark.parametrize(
    ("reason", "choice"),
    [
        ("COMPLETE", {"finish_reason": "stop"}),
        ("MAX_TOKENS", {"finish_reason": "length"}),
        ("TOOL_CALL", {"finish_reason": "tool_calls"}),
        ("STOP_SEQUENCE", {"finish_reason": "stop", "native_finish_reason": "stop_sequence"}),
        ("OF_TOMORROW", {"finish_reason": "stop"}),
    ],
)
def test_ends(reason, choice):
    told = cohere_chunk({"type": "message-end", "delta": {"finish_reason": reason}})
    assert told == {"choices": [{"index": 0, "delta": {}, **choice}]}


def test_usage_is_in_tokens():
    usage = {"tokens": {"input_tokens": 5.0, "output_tokens": None}, "billed_units": {"input_tokens": 3}}
    told = cohere_chunk({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}})
    assert told["usage"] == {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}


@pytest.mark.parametrize(
    ("delta", "code", "said"),
    [
        ({"finish_reason": "ERROR", "error": "broken"}, 502, "broken"),
        ({"finish_reason": "TIMEOUT"}, 504, "TIMEOUT"),
        ({"finish_reason": "ERROR_TOXIC"}, 502, "ERROR_TOXIC"),
        ({"error": "broken"}, 502, "broken"),
    ],
)
def test_errors(delta, code, said):
    error = cohere_chunk({"type": "message-end", "delta": delta})["error"]
    assert error["code"] == code
    assert said in error["message"]


@pytest.mark.parametrize(
    ("choice", "extras"),
    [(None, {}), ("auto", {}), ("required", {"tool_choice": "REQUIRED"}), ("none", {"tool_choice": "NONE"})],
)
def test_tool_choice(choice, extras):
    assert cohere_extras({"tool_choice": choice} if choice else {}) == extras
    assert cohere_extras({"tool_choice": choice, "k": 5, "seed": 7}) == {**extras, "k": 5}


def test_a_named_tool_is_refused():
    with pytest.raises(UnsupportedContent, match="tool_choice"):
        cohere_extras({"tool_choice": {"type": "function", "function": {"name": "look"}}})
