"""What Headgate signed does not go to Anthropic's servers, and the conversation stays one they take."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from tests.fakes.laws import messages_complaint
from tests.wire.requests import assistant, call, request, result, system, text, user
from wire.check import check_request
from wire.interning import SMALLEST_BODY, Interner, parse_interned
from wire.signature import pack_details
from wire.unsealing import unsealed

SEAL = pack_details([{"type": "reasoning.text", "text": "Hm."}], "openai/gpt-5")
OURS = {"type": "thinking", "thinking": "Hm.", "signature": SEAL}
OURS_HIDDEN = {"type": "redacted_thinking", "data": SEAL}
THEIRS = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
THEIRS_HIDDEN = {"type": "redacted_thinking", "data": "EqQB"}
MODEL = "anthropic/claude-opus-4.6"
BUDGET = {"type": "enabled", "budget_tokens": 1024}
ADAPTIVE = {"type": "adaptive"}
OFF = {"type": "disabled"}
CLEARING = {"type": "clear_thinking_20251015", "keep": "all"}
EDITS = {"edits": [CLEARING, {"type": "clear_tool_uses_20250919"}]}
IN_A_LOOP = [user("go"), assistant(OURS, call("t1")), user(result("t1", "done"))]


def unsealed_of(body: dict[str, Any], model: str = MODEL) -> dict[str, Any]:
    """Unseal, of a request that nobody shares and of one whose messages are shared; both come to the same."""
    before = copy.deepcopy(body)
    out = unsealed(body, model)
    assert body == before
    check_request(out)
    assert not messages_complaint(out)
    shared = parse_interned(orjson.dumps(body), Interner())
    kept = list(shared["messages"])
    assert unsealed(shared, model) == out
    assert shared == before
    assert all(one is other for one, other in zip(shared["messages"], kept, strict=True))
    return out


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (assistant(OURS, "a"), assistant(text("a"))),
        (assistant(THEIRS, OURS, OURS_HIDDEN, THEIRS_HIDDEN, "a"), assistant(THEIRS, THEIRS_HIDDEN, "a")),
        (assistant(OURS, OURS_HIDDEN), assistant("(no content)")),
        (assistant(OURS_HIDDEN, call("t1")), assistant(call("t1"))),
    ],
)
def test_the_thinking_that_was_signed_here_is_left_out(said, left):
    end = [user(result("t1", "done")) if left["content"][-1] == call("t1") else user("go on")]
    assert unsealed_of(request(user("go"), said, *end)) == request(user("go"), left, *end)


@pytest.mark.parametrize(
    "messages",
    [
        [user("hi")],
        [user("hi"), assistant("hello"), system("be brief"), user(f"what is {SEAL}?")],
        [user("hi"), assistant(THEIRS, THEIRS_HIDDEN, f"it is {SEAL}"), user("go on")],
    ],
)
def test_a_conversation_without_any_stays_the_same_object(messages):
    body = request(*messages)
    assert unsealed(body, MODEL) is body


def test_a_last_message_of_nothing_else_is_no_prefill():
    assert unsealed_of(request(user("go"), assistant(OURS)))["messages"] == [user("go")]
    assert unsealed(request(assistant(OURS)), MODEL)["messages"] == [assistant("(no content)")]


@pytest.mark.parametrize(
    ("thinking", "model", "left"),
    [
        (BUDGET, MODEL, OFF),
        (ADAPTIVE, MODEL, ADAPTIVE),
        (ADAPTIVE, "claude-sonnet-4-5", OFF),  # it would become a budget
        (OFF, MODEL, OFF),
    ],
)
def test_calls_that_lost_their_thinking_are_answered_without(thinking, model, left):
    out = unsealed_of(request(*IN_A_LOOP, thinking=thinking, context_management=EDITS), model)
    assert out["thinking"] == left
    kept = EDITS["edits"] if left == thinking else EDITS["edits"][1:]
    assert out["context_management"] == {"edits": kept}


def test_the_next_turn_thinks_again():
    body = request(*IN_A_LOOP, assistant("done"), user("and now?"), thinking=BUDGET)
    assert unsealed_of(body)["thinking"] == BUDGET
    went_on = request(*IN_A_LOOP, assistant(THEIRS, call("t2")), user(result("t2", "x")), thinking=BUDGET)
    assert unsealed_of(went_on)["thinking"] == BUDGET


def test_messages_that_requests_share_are_not_searched_again(monkeypatch):
    long = [user("x" * SMALLEST_BODY), assistant("a"), user("b"), assistant("c"), user("d")]
    body = parse_interned(orjson.dumps(request(*long)), Interner())
    monkeypatch.setattr("wire.unsealing._is_sealed", None)
    assert unsealed(body, MODEL) is body
