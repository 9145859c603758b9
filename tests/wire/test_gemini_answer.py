"""Gemini's answers as Anthropic's, and Anthropic's as Gemini's."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.wire.answers import RECORDINGS, context, fold, sdk_message
from tests.wire.gemini_answers import call_part, checked_response, response
from tests.wire.test_openai_answer import CONTENT, message
from wire.errors import RateLimited, UpstreamFailed
from wire.gemini_answer import GeminiStream, gemini_to_message
from wire.gemini_client import from_gemini
from wire.gemini_stream import ToGeminiStream, fold_responses, to_gemini_response
from wire.signature import pack_details, unpack_details
from wire.sse import SseDecoder, encode_event
from wire.told import told

MODEL = "vendor/model"
FORMAT = "google-gemini-v1"
USAGE = {
    "promptTokenCount": 10,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 22,
}


def events(*responses: dict[str, Any]) -> list[dict[str, Any]]:
    stream = GeminiStream(context())
    before = copy.deepcopy(responses)
    for one in responses:
        checked_response(one)
    made = [event for one in responses for event in stream.feed(one)] + stream.finish()
    assert responses == before
    return made


def answer(*responses: dict[str, Any]) -> dict[str, Any]:
    """Fold a stream, and let the anthropic SDK read it too."""
    made = events(*responses)
    folded = fold(made)
    read = sdk_message(b"".join(map(encode_event, made)))
    assert {name: value for name, value in read.items() if value is not None} == {
        name: value for name, value in folded.items() if value is not None
    }
    return folded


def test_text_and_usage() -> None:
    made = answer(
        response({"text": "Hel"}),
        response({"text": "lo."}, finish="STOP", usageMetadata=USAGE),
    )
    assert made["content"] == [{"type": "text", "text": "Hello."}]
    assert made["stop_reason"] == "end_turn"
    assert made["usage"] == {
        "input_tokens": 6,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 12,
        "output_tokens_details": {"thinking_tokens": 7},
    }


def test_usage_may_say_less() -> None:
    made = answer(response({"text": "a"}, finish="STOP", usageMetadata={"promptTokenCount": 3}))
    assert (made["usage"]["input_tokens"], made["usage"]["output_tokens"]) == (3, 0)
    assert "output_tokens_details" not in made["usage"]


def test_thoughts_and_signed_calls() -> None:
    made = answer(
        response({"text": "Hm", "thought": True}),
        response({"text": ".", "thought": True, "thoughtSignature": "dGhv"}),
        response(
            {"text": "Both."}, call_part(n=1) | {"thoughtSignature": "c2ln"}, call_part("list", "call_2")
        ),
        response(finish="STOP"),
    )
    assert [block["type"] for block in made["content"]] == [
        "thinking",
        "text",
        "redacted_thinking",
        "tool_use",
        "tool_use",
    ]
    assert made["content"][0]["thinking"] == "Hm."
    assert unpack_details(made["content"][0]["signature"], MODEL) == [
        {"type": "reasoning.text", "format": FORMAT, "text": "Hm.", "signature": "dGhv"}
    ]
    assert unpack_details(made["content"][2]["data"], MODEL) == [
        {"type": "reasoning.encrypted", "format": FORMAT, "data": "c2ln", "id": "call_1"}
    ]
    assert made["content"][3:] == [
        {"type": "tool_use", "id": "call_1", "name": "read", "input": {"n": 1}},
        {"type": "tool_use", "id": "call_2", "name": "list", "input": {}},
    ]
    assert made["stop_reason"] == "tool_use"


def test_a_call_without_an_id_gets_one_that_its_signature_knows() -> None:
    made = answer(response(call_part("read", None) | {"thoughtSignature": "c2ln"}, finish="STOP"))
    details = unpack_details(made["content"][0]["data"], MODEL)
    assert details is not None
    assert details[0]["id"] == made["content"][1]["id"]


def test_a_signature_at_the_end_of_the_text() -> None:
    made = answer(
        response({"text": "Hello."}), response({"text": "", "thoughtSignature": "c2ln"}, finish="STOP")
    )
    assert [block["type"] for block in made["content"]] == ["text", "redacted_thinking"]


def test_a_stream_and_a_whole_answer_are_equal() -> None:
    parts = [{"text": "Hm.", "thought": True}, {"text": "a"}, call_part(n=1) | {"thoughtSignature": "c2ln"}]
    whole = gemini_to_message(response(*parts, finish="STOP", usageMetadata=USAGE), context())
    streamed = answer(*map(response, parts), response(finish="STOP", usageMetadata=USAGE))
    assert whole == streamed


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("STOP", "end_turn"),
        ("MAX_TOKENS", "max_tokens"),
        ("SAFETY", "refusal"),
        ("RECITATION", "refusal"),
        ("PROHIBITED_CONTENT", "refusal"),
    ],
)
def test_reasons(finish: str, stop: str) -> None:
    assert answer(response({"text": "a"}, finish=finish))["stop_reason"] == stop


def test_a_blocked_prompt_is_a_refusal() -> None:
    made = answer({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}})
    assert (made["content"], made["stop_reason"]) == ([], "refusal")


@pytest.mark.parametrize(
    ("finish", "told_as"),
    [
        (
            {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "bad json"},
            "MALFORMED_FUNCTION_CALL: bad json",
        ),
        ({"finishReason": "MALFORMED_FUNCTION_CALL"}, "is broken: MALFORMED_FUNCTION_CALL$"),
    ],
)
def test_a_broken_answer_is_an_error(finish: dict[str, Any], told_as: str) -> None:
    with pytest.raises(UpstreamFailed, match=told_as):
        events({"candidates": [finish]})


def test_errors() -> None:
    with pytest.raises(RateLimited, match="slow"):
        GeminiStream(context()).feed(
            {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}
        )
    with pytest.raises(UpstreamFailed, match="before its answer was complete"):
        events(response({"text": "a"}))
    with pytest.raises(UpstreamFailed, match="before its answer began"):
        gemini_to_message({}, context())


def test_what_google_did_is_told_as_text() -> None:
    made = answer(
        response(
            {"executableCode": {"language": "PYTHON", "code": "1+1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            {"fileData": {"fileUri": "https://a/b"}},
            {"videoMetadata": {}},
            finish="STOP",
        )
    )
    assert made["content"] == [
        {
            "type": "text",
            "text": "\n```\n1+1\n```\n\n```\n2\n```\n"
            "[the model answered with an image (image/png): not shown]![file](https://a/b)",
        }
    ]


def test_pages_that_google_found_are_citations() -> None:
    one = response({"text": "As said."}, finish="STOP")
    one["candidates"][0]["groundingMetadata"] = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
        "groundingSupports": [
            {"segment": {"text": "As said.", "endIndex": 8}, "groundingChunkIndices": [0, 7]},
            {},
        ],
    }
    (block,) = answer(one)["content"]
    assert block["citations"] == [
        {
            "type": "web_search_result_location",
            "url": "https://a",
            "title": "A",
            "cited_text": "As said.",
            "encrypted_index": "",
        }
    ]


# Anthropic's answers for Gemini's clients.


def rendered(given: dict[str, Any]) -> list[dict[str, Any]]:
    stream = ToGeminiStream()
    made = [one for event in told(given) for one in stream.feed(event)]
    for one in made:
        checked_response(one)
    return made


@pytest.mark.parametrize("name", CONTENT)
def test_the_whole_is_the_folded_stream(name: str) -> None:
    given = message(CONTENT[name])
    whole = to_gemini_response(given)
    assert whole == fold_responses(rendered(given))
    sdk = checked_response(whole)
    text = "".join(block.get("text", "") for block in CONTENT[name])
    assert (sdk.text or "") == text if name != "tools" else sdk.function_calls is not None


def test_the_parts_of_an_answer() -> None:
    whole = to_gemini_response(message(CONTENT["tools"], "tool_use"))
    assert whole == {
        "modelVersion": "claude-test",
        "responseId": "msg_1",
        "candidates": [
            {
                "index": 0,
                "finishReason": "STOP",
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "Both."},
                        call_part("read", "toolu_1", path="/a"),
                        call_part("list", "toolu_2"),
                    ],
                },
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 5,
            "cachedContentTokenCount": 0,
            "candidatesTokenCount": 7,
            "totalTokenCount": 12,
        },
    }


def test_what_a_client_sends_back_is_what_it_got() -> None:
    said = to_gemini_response(message(CONTENT["thinking"]))["candidates"][0]["content"]
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}, said]}
    assert from_gemini(body, model="claude-test")["messages"][1]["content"] == CONTENT["thinking"]


def test_a_signature_of_ours_goes_as_it_is() -> None:
    signature = pack_details([{"type": "reasoning.text", "text": "Hm."}], "claude-test")
    block = {"type": "thinking", "thinking": "Hm.", "signature": signature}
    (part,) = to_gemini_response(message([block]))["candidates"][0]["content"]["parts"]
    assert part == {"text": "Hm.", "thought": True, "thoughtSignature": signature}
    body = {"contents": [{"role": "model", "parts": [part]}]}
    assert from_gemini(body, model="claude-test")["messages"][0]["content"] == [block]


@pytest.mark.parametrize(
    ("stop", "finish"),
    [("end_turn", "STOP"), ("max_tokens", "MAX_TOKENS"), ("refusal", "SAFETY"), ("pause_turn", "STOP")],
)
def test_reasons_for_geminis_clients(stop: str, finish: str) -> None:
    given = message(CONTENT["text"], stop)
    assert to_gemini_response(given)["candidates"][0]["finishReason"] == finish


def test_usage_for_geminis_clients() -> None:
    usage = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 4,
        "output_tokens": 8,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert to_gemini_response(message([], usage=usage))["usageMetadata"] == {
        "promptTokenCount": 7,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 3,
        "totalTokenCount": 15,
    }
    assert "usageMetadata" not in to_gemini_response(message([], usage=None))


def test_blocks_may_be_whole_from_their_start() -> None:
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "thinking", "thinking": "b", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
    ]
    stream = ToGeminiStream()
    made = []
    for event in told(message(blocks)):
        whole = event["type"] == "content_block_start"
        if event["type"] != "content_block_delta":
            made += stream.feed({**event, "content_block": blocks[event["index"]]} if whole else event)
    assert fold_responses(made) == to_gemini_response(message(blocks))


def test_what_says_nothing_gives_nothing() -> None:
    stream = ToGeminiStream()
    assert stream.feed({"type": "ping"}) == []
    assert (
        stream.feed({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta"}}) == []
    )


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.message.json")), ids=lambda path: path.name)
def test_recorded_messages(path: Any) -> None:
    given = json.loads(path.read_bytes())
    checked_response(to_gemini_response(given))


def read(pieces: list[bytes]) -> list[dict[str, Any]]:
    """Read a recorded stream, in pieces, to its events."""
    decoder, machine = SseDecoder(), GeminiStream(context())
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return [event for frame in frames for event in machine.feed(json.loads(frame.data))] + machine.finish()


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("gemini_*.sse")), ids=lambda path: path.name)
def test_recorded_streams(path: Any) -> None:
    data = path.read_bytes()
    whole = read([data])
    assert fold(whole) == json.loads(path.with_suffix(".message.json").read_bytes())
    assert [at for at in range(len(data)) if read([data[:at], data[at:]]) != whole] == []
