"""Anthropic answers as OpenAI's clients get them: chunk by chunk, and whole."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.wire.answers import RECORDINGS, fold
from tests.wire.openai_answers import SHAPE, plain, rendered, sdk_completion
from wire.errors import UpstreamFailed
from wire.openai_answer import fold_chunks, to_completion
from wire.openai_request import from_openai
from wire.openai_stream import OpenAIStream, shape_of
from wire.openai_usage import chat_usage
from wire.told import told

USAGE = {"input_tokens": 5, "output_tokens": 7}
CITED = {
    "type": "web_search_result_location",
    "url": "https://a",
    "title": "A",
    "cited_text": "as said",
    "encrypted_index": "",
}
FUNCTIONS = dataclasses.replace(SHAPE, functions=True)
CONTENT: dict[str, list[dict[str, Any]]] = {
    "text": [{"type": "text", "text": "Hello."}],
    "empty text": [{"type": "text", "text": ""}],
    "nothing": [],
    "thinking": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "thinking", "thinking": "", "signature": "sig2"},
        {"type": "text", "text": "Hello."},
    ],
    "unsigned thinking": [{"type": "thinking", "thinking": "Hm.", "signature": ""}],
    "tools": [
        {"type": "text", "text": "Both."},
        {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "/a"}},
        {"type": "tool_use", "id": "toolu_2", "name": "list", "input": {}},
    ],
    "citations": [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "a"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "text", "text": "First. "},
        {"type": "text", "text": "Second.", "citations": [CITED, {"type": "page_location"}]},
    ],
}


def message(content: list[dict[str, Any]], stop: str = "end_turn", **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
        **fields,
    }


@pytest.mark.parametrize("name", CONTENT)
def test_told_and_folded_a_message_is_itself(name: str) -> None:
    given = message(CONTENT[name])
    before = copy.deepcopy(given)
    folded = fold(told(given))
    assert folded == given == before


@pytest.mark.parametrize("name", CONTENT)
def test_the_whole_is_the_folded_stream_and_the_sdks(name: str) -> None:
    given = message(CONTENT[name], "tool_use" if name == "tools" else "end_turn")
    chunks = rendered(told(given))
    completion = to_completion(given, SHAPE)
    assert completion == fold_chunks(chunks)
    ChatCompletion.model_validate(completion, strict=True)
    sdk = sdk_completion(ChatCompletionChunk.model_validate(chunk) for chunk in chunks)
    ours = plain(completion)
    ours["choices"][0].pop("native_finish_reason")  # of a choice's own fields, the SDK keeps those it knows
    ours["choices"][0]["message"].setdefault("content", "")
    assert ours == sdk


@pytest.mark.parametrize("name", ["text", "thinking", "tools"])
def test_what_a_client_sends_back_is_what_it_got(name: str) -> None:
    said = to_completion(message(CONTENT[name]), SHAPE)["choices"][0]["message"]
    said = {field: value for field, value in said.items() if value is not None}
    tools = [call["id"] for call in said.get("tool_calls", ())]
    results = [{"role": "tool", "tool_call_id": identity, "content": "done"} for identity in tools]
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}, said, *results]}
    returned = from_openai(body)["messages"][1]["content"]
    blocks = [{"type": "text", "text": returned}] if isinstance(returned, str) else returned
    assert blocks == CONTENT[name]


def test_the_chunks_of_an_answer() -> None:
    given = message(CONTENT["tools"], "tool_use")
    chunks = rendered(told(given), dataclasses.replace(SHAPE, include_usage=False))
    assert {(one["id"], one["object"], one["created"], one["model"]) for one in chunks} == {
        ("chatcmpl-msg_1", "chat.completion.chunk", SHAPE.created, "claude-test")
    }
    assert [one["choices"][0]["delta"] for one in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Both."},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "read", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"path":"/a"}'}}]},
        {
            "tool_calls": [
                {
                    "index": 1,
                    "id": "toolu_2",
                    "type": "function",
                    "function": {"name": "list", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [one["choices"][0]["finish_reason"] for one in chunks] == [None] * 6 + ["tool_calls"]


def test_reasoning_is_text_and_details() -> None:
    chunks = rendered(told(message(CONTENT["thinking"])))
    said = fold_chunks(chunks)["choices"][0]["message"]
    assert said["reasoning"] == "Hm."
    assert said["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "text": "Hm.",
            "signature": "sig",
            "format": "anthropic-claude-v1",
            "index": 0,
        },
        {"type": "reasoning.encrypted", "data": "xyz", "format": "anthropic-claude-v1", "index": 1},
        {"type": "reasoning.text", "signature": "sig2", "format": "anthropic-claude-v1", "index": 2},
    ]


def test_citations_stand_where_their_block_does() -> None:
    said = to_completion(message(CONTENT["citations"]), SHAPE)["choices"][0]["message"]
    assert said["content"] == "First. Second."
    assert said["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {
                "url": "https://a",
                "title": "A",
                "start_index": 7,
                "end_index": 14,
                "content": "as said",
            },
        }
    ]


def test_a_citation_may_say_less() -> None:
    block = {"type": "text", "text": "x", "citations": [{"url": "https://a"}]}
    said = to_completion(message([block]), SHAPE)["choices"][0]["message"]
    assert said["annotations"][0]["url_citation"] == {
        "url": "https://a",
        "title": "",
        "start_index": 0,
        "end_index": 1,
    }


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("of a kind to come", "stop"),
    ],
)
def test_reasons(stop: str, finish: str) -> None:
    (choice,) = to_completion(message(CONTENT["text"], stop), SHAPE)["choices"]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (finish, stop)


def test_a_matched_stop_sequence_is_told() -> None:
    given = message(CONTENT["text"], "stop_sequence", stop_sequence="END")
    assert to_completion(given, SHAPE)["choices"][0]["stop_reason"] == "END"


def test_functions_as_before_tools() -> None:
    given = message(CONTENT["tools"][:2], "tool_use")
    (choice,) = to_completion(given, FUNCTIONS)["choices"]
    assert choice["message"]["function_call"] == {"name": "read", "arguments": '{"path":"/a"}'}
    assert choice["finish_reason"] == "function_call"
    assert "tool_calls" not in choice["message"]
    with pytest.raises(UpstreamFailed, match="two functions at once"):
        to_completion(message(CONTENT["tools"], "tool_use"), FUNCTIONS)


def test_blocks_may_be_whole_from_their_start() -> None:
    blocks = [
        {"type": "text", "text": "a", "citations": [CITED]},
        {"type": "thinking", "thinking": "b", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
    ]
    stream = OpenAIStream(SHAPE)
    chunks = []
    for event in told(message(blocks)):
        whole = event["type"] == "content_block_start"
        if event["type"] != "content_block_delta":
            chunks += stream.feed({**event, "content_block": blocks[event["index"]]} if whole else event)
    assert fold_chunks(chunks) == to_completion(message(blocks), SHAPE)


def test_what_says_nothing_gives_nothing() -> None:
    stream = OpenAIStream(SHAPE)
    assert stream.feed({"type": "ping"}) == stream.feed({"type": "of a kind to come"}) == []
    for delta in (
        {"type": "text_delta", "text": ""},
        {"type": "thinking_delta", "thinking": ""},
        {"type": "signature_delta", "signature": ""},
        {"type": "of a kind to come"},
    ):
        assert stream.feed({"type": "content_block_delta", "index": 0, "delta": delta}) == []


@pytest.mark.parametrize(
    ("usage", "made"),
    [
        (
            USAGE,
            {
                "prompt_tokens": 5,
                "completion_tokens": 7,
                "total_tokens": 12,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            },
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 2,
                "cache_read_input_tokens": 4,
                "output_tokens": 8,
                "output_tokens_details": {"thinking_tokens": 3},
                "server_tool_use": {"web_search_requests": 1},
                "cost": 0.5,
            },
            {
                "prompt_tokens": 7,
                "completion_tokens": 8,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
                "server_tool_use": {"web_search_requests": 1},
                "cost": 0.5,
            },
        ),
    ],
)
def test_usage(usage: dict[str, Any], made: dict[str, Any]) -> None:
    assert chat_usage(usage) == made


def test_usage_that_nobody_told_is_not_made_up() -> None:
    given = message(CONTENT["text"], usage=None)
    assert "usage" not in to_completion(given, SHAPE)


def test_the_shape_is_read_off_the_request() -> None:
    body = {"stream_options": {"include_usage": True}, "functions": [{"name": "a"}]}
    shape = shape_of(body, model="m", created=5.5)
    assert (shape.model, shape.created, shape.include_usage, shape.functions) == ("m", 5, True, True)
    assert not shape_of({}, model="m", created=0).include_usage


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.message.json")), ids=lambda path: path.name)
def test_recorded_messages(path: Any) -> None:
    given = json.loads(path.read_bytes())
    completion = to_completion(given, SHAPE)
    ChatCompletion.model_validate(completion, strict=True)
    assert completion == fold_chunks(rendered(told(given)))
