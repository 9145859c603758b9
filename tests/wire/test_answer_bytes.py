"""The two relays of stream bytes: errors and ends, between reads and within one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.answers import chunk, context, events_of, fold, run, sse
from wire.chat_bytes import ChatBytes
from wire.errors import GatewayError, Overloaded, UpstreamFailed
from wire.messages_bytes import MessagesBytes
from wire.sse import encode_event

ERROR = {"error": {"code": 503, "message": "full"}}
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "vendor/m", "usage": {"input_tokens": 3, "cost": None}},
}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
STOP = {"type": "message_stop"}


def ended(reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


def written(*events: dict[str, Any]) -> bytes:
    return b"".join(map(encode_event, events))


def chat() -> ChatBytes:
    return ChatBytes(context())


def test_an_error_after_content_waits_until_that_is_sent() -> None:
    machine = chat()
    assert b"half" in machine.feed(sse(chunk({"content": "half"}), ERROR))
    assert machine.failed
    with pytest.raises(Overloaded):
        machine.feed(b"data: more\n\n")
    with pytest.raises(Overloaded):
        machine.finish()


def test_an_error_before_content_is_raised_at_once() -> None:
    machine = chat()
    with pytest.raises(Overloaded, match="full"):
        machine.feed(b": OPENROUTER PROCESSING\n\n" + sse(chunk({"role": "assistant"}), ERROR))
    assert not machine.started


def test_an_error_event_without_an_error_field() -> None:
    machine = chat()
    with pytest.raises(Overloaded, match="full"):
        machine.feed(b'event: error\ndata: {"code":503,"message":"full"}\n\n')


def test_done_ends_the_message_and_what_follows_is_nothing() -> None:
    machine = chat()
    out = machine.feed(sse(chunk({"content": "a"}, "stop"), "[DONE]", chunk({"content": "b"})))
    assert events_of(out)[-1] == {"type": "message_stop"}
    assert machine.feed(sse(ERROR)) == b""
    assert machine.finish() == b""
    assert (machine.stop_reason, machine.usage, machine.cost) == ("end_turn", None, None)
    assert machine.generation_id == "gen-1"


def test_done_without_an_answer_is_an_error() -> None:
    with pytest.raises(UpstreamFailed, match="before its answer began"):
        chat().feed(b"data: [DONE]\n\n")


def test_done_without_a_blank_line_is_done() -> None:
    out, error = run(chat(), [sse(chunk({"content": "a"})) + b"data: [DONE]"])
    assert error is None
    assert events_of(out)[-1] == {"type": "message_stop"}


def test_frames_that_say_nothing() -> None:
    assert chat().feed(b"data: \n\ndata: null\n\n: x\n\nevent: ping\n\n") == b""


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"data: {half\n\n", "is no JSON$"),
        (b"data: \xff\xfe\n\n", "is no JSON$"),
        (b"data: [1]\n\n", "no JSON object"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "is no JSON$"),
    ],
)
def test_what_is_no_chunk_is_an_error(frame: bytes, message: str) -> None:
    with pytest.raises(UpstreamFailed, match=message):
        chat().feed(frame)


def test_a_cut_last_frame_is_a_truncated_stream() -> None:
    out, error = run(chat(), [sse(chunk({"content": "a"})) + b'data: {"choices":[{"del'])
    assert [event["type"] for event in events_of(out)][-1] == "content_block_delta"
    assert isinstance(error, UpstreamFailed)
    assert error.message == "the upstream ended the stream before its answer was complete"
    assert not error.retryable


def test_an_error_in_a_last_frame_without_a_blank_line() -> None:
    _, error = run(chat(), [sse(chunk({"content": "a"})) + b"data: " + json.dumps(ERROR).encode()])
    assert isinstance(error, Overloaded)


def test_json_that_strict_parsers_refuse() -> None:
    choice = b'{"delta":{"content":"a\\ud83d b"},"finish_reason":"stop"}'
    data = b'data: {"choices":[%b],"usage":{"cost":NaN}}\n\n' % choice
    out, error = run(chat(), [data])
    assert error is None
    assert fold(events_of(out))["content"] == [{"type": "text", "text": "a\ufffd b"}]


@pytest.mark.parametrize("machine", [chat(), MessagesBytes("m")])
def test_fail_is_one_error_event(machine: ChatBytes | MessagesBytes) -> None:
    out = machine.fail(Overloaded("later"), "req_1")
    assert events_of(out) == [
        {"type": "error", "error": {"type": "overloaded_error", "message": "later"}, "request_id": "req_1"}
    ]
    assert machine.failed


def test_what_comes_before_the_message_is_dropped() -> None:
    machine = MessagesBytes("claude-test")
    assert machine.feed(b": OPENROUTER PROCESSING\n\n" + written({"type": "ping"})) == b""
    assert not machine.started
    out = machine.feed(b"\n" + written(START, DELTA))
    assert machine.started
    assert [event["type"] for event in events_of(out)] == ["message_start", "content_block_delta"]
    assert events_of(out)[0]["message"]["model"] == "claude-test"
    assert machine.generation_id == "msg_1"


def test_a_start_with_the_clients_name_passes_as_it_is() -> None:
    odd = b'event: message_start\ndata: {"type": "message_start", "message": {"model": "m"}}\n\n'
    assert MessagesBytes("m").feed(odd) == odd


def test_usage_and_stop_reason_are_seen() -> None:
    machine = MessagesBytes("m")
    machine.feed(written(START, DELTA))
    machine.feed(written(ended("max_tokens", output_tokens=7, input_tokens=None, cost=0.25), STOP))
    assert machine.finish() == b""
    assert machine.usage == {"input_tokens": 3, "output_tokens": 7}
    assert (machine.stop_reason, machine.cost) == ("max_tokens", 0.25)


def test_events_without_a_name_are_known_by_their_type() -> None:
    machine = MessagesBytes("m")
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (START, ended(), STOP))
    out, error = run(machine, [data])
    assert error is None
    assert out.count(b"data: ") == 3
    assert machine.stop_reason == "end_turn"


@pytest.mark.parametrize(
    "event", [{"type": "message_delta", "delta": None, "usage": 7}, {"type": "message_delta"}]
)
def test_an_odd_end_passes(event: dict[str, Any]) -> None:
    machine = MessagesBytes("m")
    out, error = run(machine, [written(START, event, STOP)])
    assert error is None
    assert written(event) in out
    assert machine.stop_reason is None


def test_words_of_events_within_text_change_nothing() -> None:
    machine = MessagesBytes("m")
    told = {
        **DELTA,
        "delta": {"type": "text_delta", "text": "message_stop\n\nevent: error\ndata: message_delta"},
    }
    machine.feed(written(START))
    assert machine.feed(written(told)) == written(told)
    assert not machine.failed
    with pytest.raises(UpstreamFailed, match="before its answer was complete"):
        machine.finish()


def test_what_is_no_event_passes_within_a_message() -> None:
    machine = MessagesBytes("m")
    machine.feed(written(START))
    odd = b"data: [1]\n\ndata: {error\n\n"
    assert machine.feed(odd) == odd


@pytest.mark.parametrize(
    "first", [written(DELTA), b"data: {}\n\n", b"data: half\n\n", b'data: {"type":"message_start"}\n\n']
)
def test_a_stream_that_begins_otherwise_is_an_error(first: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="did not begin with message_start"):
        MessagesBytes("m").feed(first)


def test_a_first_error_keeps_its_body() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(Overloaded) as raised:
        MessagesBytes("m").feed(written(body))
    assert json.loads(raised.value.verbatim or b"") == body
    assert raised.value.retryable


def test_a_later_error_hides_keys() -> None:
    machine = MessagesBytes("m")
    error = {"type": "error", "error": {"type": "api_error", "message": "bad key sk-or-v1-0123456789"}}
    out, failure = run(machine, [written(START, DELTA, error)])
    assert failure is None
    assert machine.failed
    assert b"sk-or" not in out
    assert b"[hidden key]" in out


@pytest.mark.parametrize("kind", ["invalid_request_error", "api_error"])
def test_a_later_overflow_is_told_in_claude_codes_words_on_both_wires(kind: str) -> None:
    foreign = "This model's maximum context length is 200000 tokens. However, you requested 210000 tokens"
    told = {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}
    event = {"type": "error", "error": {"type": kind, "message": foreign}, "request_id": "req_theirs"}
    machine = MessagesBytes("m")
    out, failure = run(machine, [written(START, DELTA, event)])
    assert (failure, machine.failed) == (None, True)
    assert events_of(out)[-1] == {**event, "error": told}
    _, failure = run(chat(), [sse(chunk({"content": "a"}), {"error": event["error"]})])
    assert failure is not None
    assert {"type": failure.type, "message": failure.message} == told


def test_a_later_error_in_claude_codes_words_passes_as_it_came() -> None:
    for message in (
        "prompt is too long: 2 tokens > 1 maximum",
        "input length and `max_tokens` exceed context limit",
    ):
        event = {"type": "error", "error": {"type": "invalid_request_error", "message": message, "more": 1}}
        out, _ = run(MessagesBytes("m"), [written(START, DELTA, event)])
        assert out.endswith(written(event))


def test_a_later_refusal_of_our_key_says_whose() -> None:
    event = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    out, _ = run(MessagesBytes("m", "OPENROUTER_API_KEY"), [written(START, DELTA, event)])
    error = events_of(out)[-1]["error"]
    assert error["type"] == "permission_error"
    assert error["message"].startswith("OPENROUTER_API_KEY was refused by the upstream")


@pytest.mark.parametrize("data", [b"", b": only a comment\n\n", b"event: ping\n"])
def test_a_stream_of_nothing_may_be_tried_again(data: bytes) -> None:
    for machine in (chat(), MessagesBytes("m")):
        _, error = run(machine, [data])
        assert isinstance(error, GatewayError)
        assert error.retryable
