"""The streams that an OpenAI client can get: recorded, cut everywhere, and with all that goes wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.answers import RECORDINGS, call, calls, chunk, context, run, sse
from tests.wire.openai_answers import SHAPE, chunks_of, plain, sdk_chunks, sdk_completion
from wire.chat_answer import to_message
from wire.errors import GatewayError, Overloaded, RateLimited, UpstreamFailed
from wire.openai_answer import fold_chunks, to_completion
from wire.openai_bytes import DONE, MessagesToOpenAI, OpenAIBytes, OpenAIRelay
from wire.openai_usage import chat_usage
from wire.sse import encode_event

if TYPE_CHECKING:
    from pathlib import Path

CHAT = sorted(RECORDINGS.glob("chat_*.sse"))
MESSAGES = sorted(RECORDINGS.glob("messages_*.sse"))
WITHOUT_USAGE = dataclasses.replace(SHAPE, include_usage=False)
ENDS_BADLY = {
    "chat_error_first": RateLimited,
    "chat_error_midstream": UpstreamFailed,
    "chat_truncated": UpstreamFailed,
    "messages_error_first": Overloaded,
    "messages_error_midstream": Overloaded,
    "messages_truncated": UpstreamFailed,
}
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "vendor/m", "usage": {"input_tokens": 3}},
}
OPEN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
ENDED = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 2, "cost": 0.5},
}
STOP = {"type": "message_stop"}


def machine(name: str) -> OpenAIBytes:
    kind = MessagesToOpenAI if name.startswith("messages") else OpenAIRelay
    return kind(context(), SHAPE)


def relay(**fields: Any) -> OpenAIRelay:
    return OpenAIRelay(context(), dataclasses.replace(SHAPE, **fields))


def translation() -> MessagesToOpenAI:
    return MessagesToOpenAI(context(), SHAPE)


def written(*events: dict[str, Any]) -> bytes:
    return b"".join(map(encode_event, events))


def by_name(path: Path) -> str:
    return path.stem


def told(path: Path, pieces: list[bytes]) -> tuple[bytes, Any, Any]:
    """Give all that a stream comes to: its bytes, its error, and what was noted of it."""
    one = machine(path.stem)
    out, error = run(one, pieces)
    noted = (one.started, one.failed, one.usage, one.cost, one.stop_reason, one.generation_id)
    return out, None if error is None else (type(error), error.message), noted


def test_a_bare_machine_takes_nothing() -> None:
    with pytest.raises(NotImplementedError):
        OpenAIBytes(context()).feed(b"\ndata: x\n\n")


@pytest.mark.parametrize("path", [*CHAT, *MESSAGES], ids=by_name)
def test_recorded_streams(path: Path) -> None:
    out, error, noted = told(path, [path.read_bytes()])
    if path.stem in ENDS_BADLY:
        assert error is not None
        assert error[0] is ENDS_BADLY[path.stem]
        assert b"[DONE]" not in out
        return
    assert error is None
    assert {one["model"] for one in chunks_of(out)} == {"claude-test"}
    assert noted[:2] == (True, False)
    assert noted[4] is not None
    assert len(sdk_chunks(out)) == len(chunks_of(out))


@pytest.mark.parametrize("path", MESSAGES, ids=by_name)
def test_a_translated_stream_is_its_message_rendered(path: Path) -> None:
    if path.stem in ENDS_BADLY:
        return
    out, _, noted = told(path, [path.read_bytes()])
    message = json.loads(path.with_suffix(".message.json").read_bytes())
    completion = plain(to_completion(message, SHAPE))
    streamed = plain(fold_chunks(chunks_of(out)))
    for made in (streamed, completion):  # a stream has the arguments in the model's own writing
        for call_made in made["choices"][0]["message"].get("tool_calls", ()):
            call_made["function"]["arguments"] = json.loads(call_made["function"]["arguments"])
    assert streamed == completion
    assert sdk_completion(sdk_chunks(out))["usage"] == completion["usage"]
    assert noted[4] == message["stop_reason"]


@pytest.mark.parametrize("path", CHAT, ids=by_name)
def test_a_relayed_stream_says_what_the_upstream_said(path: Path) -> None:
    if path.stem in ENDS_BADLY:
        return
    data = path.read_bytes().replace(b"\r\n", b"\n")
    out, _, _ = told(path, [data])
    frames = [frame for frame in data.split(b"\n\n") if frame.startswith(b"data: {")]
    given = [{**json.loads(frame[6:]), "model": "claude-test"} for frame in frames]
    assert chunks_of(out) == given


@pytest.mark.parametrize("path", [*CHAT, *MESSAGES], ids=by_name)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 257, 1021])
def test_cut_in_odd_sizes(path: Path, size: int) -> None:
    data = path.read_bytes()
    assert told(path, [data[at : at + size] for at in range(0, len(data), size)]) == told(path, [data])


@pytest.mark.parametrize("path", [*CHAT, *MESSAGES], ids=by_name)
def test_cut_at_every_byte(path: Path) -> None:
    data = path.read_bytes()
    whole = told(path, [data])
    step = 1 if len(data) < 2000 else 11
    cuts = range(0, len(data), step)
    assert [at for at in cuts if told(path, [data[:at], data[at:]]) != whole] == []


@pytest.mark.parametrize("path", [*CHAT, *MESSAGES], ids=by_name)
def test_ended_at_every_byte(path: Path) -> None:
    """A stream cut short is an error, or it had said all that counts."""
    data = path.read_bytes()
    whole = told(path, [data])[0]
    for at in range(0, len(data), 1 if len(data) < 1000 else 13):
        out, error, _ = told(path, [data[:at]])
        if error is not None:
            assert whole.startswith(out)
        elif b'data: {"error":' in out:
            assert whole.startswith(out[: out.index(b'data: {"error":')])
        else:
            assert out.endswith(DONE)


def test_a_translated_stream_is_noted() -> None:
    one = translation()
    assert one.feed(b": hello\n\n" + written({"type": "ping"})) == b""
    assert not one.started
    out = one.feed(written(START, OPEN, DELTA, {"type": "content_block_stop", "index": 0}, ENDED, STOP))
    assert out.endswith(DONE)
    assert one.finish() == b""
    assert one.feed(b"data: more\n\n") == b""
    assert (one.started, one.failed, one.stop_reason, one.cost) == (True, False, "end_turn", 0.5)
    assert (one.usage, one.generation_id) == ({"input_tokens": 3, "output_tokens": 2}, "msg_1")
    assert chunks_of(out)[-1]["usage"]["total_tokens"] == 5


def test_a_message_that_ended_without_saying_so_is_ended() -> None:
    out, error = run(translation(), [written(START, OPEN, DELTA, ENDED)])
    assert error is None
    assert [one["choices"][0]["finish_reason"] for one in chunks_of(out)[:-1]][-1] == "stop"


def test_a_last_event_without_a_blank_line_counts() -> None:
    out, error = run(translation(), [written(START, OPEN, DELTA, ENDED, STOP).rstrip(b"\n")])
    assert error is None
    assert out.endswith(DONE)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (written(DELTA), "did not begin with message_start"),
        (written({"type": "message_start", "message": 5}), "did not begin with message_start"),
        (b"data: [1]\n\n", "no JSON object"),
        (written(START, {"type": "content_block_delta"}), "whose form is not its API's"),
        (written(START, OPEN, {**DELTA, "delta": {"type": "text_delta", "text": 5}}), "is not its API's"),
        (b'data: {"type": ["message_start"]}\n\n', "is not its API's"),
        (b"", "before its answer began"),
        (written(START, OPEN, DELTA), "before its answer was complete"),
    ],
)
def test_what_is_no_message_is_an_error(data: bytes, told: str) -> None:
    _, error = run(translation(), [data])
    assert isinstance(error, UpstreamFailed)
    assert told in error.message


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": ["stop"]}]},
        {"choices": [{"index": 0, "delta": "text"}]},
        {"choices": [{"index": 0, "delta": [1]}]},
    ],
)
def test_what_is_no_chunk_is_an_error(odd: Any) -> None:
    _, error = run(relay(), [sse(odd)])
    assert isinstance(error, UpstreamFailed)
    assert "whose form is not its API's" in error.message
    assert error.retryable


def test_odd_counts_are_none() -> None:
    usage = {"input_tokens": "5", "output_tokens": [1], "cache_read_input_tokens": 2}
    told = chat_usage(usage)
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (2, 0, 2)


def test_a_later_error_waits_until_what_came_before_is_sent() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    one = translation()
    assert b'"role":"assistant"' in one.feed(written(START, error))
    assert one.failed
    for more in (lambda: one.feed(b"x"), one.finish):
        with pytest.raises(Overloaded):
            more()


def test_fail_is_one_error_and_the_sdk_raises_it() -> None:
    from openai import APIError

    out = relay().fail(Overloaded("later"), "req_1")
    assert out == (
        b'data: {"error":{"message":"later","type":"server_error","param":null,"code":"overloaded"}}\n\n'
    )
    with pytest.raises(APIError, match="later"):
        sdk_chunks(sse(chunk({"content": "a"}, created=1, model="m")) + out)


# The relay of a chat stream.

NAMED = {"model": "vendor/m", "created": 1}


def said(text: str = "a", **more: Any) -> dict[str, Any]:
    return chunk({"content": text}, **NAMED, **more)


def test_a_bare_role_is_held_until_something_is_said() -> None:
    one = relay()
    assert one.feed(b": OPENROUTER PROCESSING\n\n" + sse(chunk({"role": "assistant"}, **NAMED))) == b""
    assert not one.started
    out = one.feed(b": still there\n\n" + sse(said()))
    assert one.started
    assert [json.loads(line[6:])["choices"][0]["delta"] for line in out.split(b"\n\n") if line] == [
        {"role": "assistant"},
        {"content": "a"},
    ]
    assert one.feed(b": still there\n\n") == b": still there\n\n"


def test_an_error_after_a_bare_role_is_raised() -> None:
    with pytest.raises(Overloaded, match="full"):
        relay().feed(sse(chunk({"role": "assistant"}), {"error": {"code": 503, "message": "full"}}))


@pytest.mark.parametrize("error", [{"error": "full"}, {"error": {"code": 502, "message": "full"}}])
def test_a_later_error_of_the_chat_waits(error: dict[str, Any]) -> None:
    one = relay()
    out = one.feed(sse(said(), error, said("b")))
    assert b'"a"' in out
    assert b'"b"' not in out
    with pytest.raises(GatewayError, match="full"):
        one.finish()


@pytest.mark.parametrize("colon", [":", ": "])
def test_the_clients_name_stands_for_the_model(colon: str) -> None:
    one = relay()
    frame = f'data: {{"model"{colon}"vendor/m","choices":[{{"delta":{{"content":"%s"}}}}]}}\n\n'
    text = '\\"model\\":\\"vendor/m\\"'
    out = one.feed((frame % "a").encode() + (frame % text).encode())
    more = one.feed((frame % text).encode())
    for line in (out + more).split(b"\n\n")[:-1]:
        assert json.loads(line[6:])["model"] == "claude-test"
    assert json.loads(more[6:])["choices"][0]["delta"]["content"] == '"model":"vendor/m"'


def test_frames_that_tell_nothing_are_not_parsed() -> None:
    one = relay()
    one.feed(sse(said()))
    odd = b"data: {not even json}\n\n"
    assert one.feed(odd) == odd


def test_the_end_is_noted() -> None:
    one = relay(include_usage=False)
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.25}
    ended = chunk({"content": ""}, "tool_calls", **NAMED)
    out = one.feed(
        sse(said(), ended, {**NAMED, "id": "gen-1", "choices": [], "usage": usage}, "[DONE]", said())
    )
    assert len(chunks_of(out)) == 2  # the chunk of usage was not asked for
    assert (one.stop_reason, one.cost, one.generation_id) == ("tool_use", 0.25, "gen-1")
    assert one.usage is not None
    assert one.usage["input_tokens"] == 5
    assert one.finish() == b""
    assert one.feed(b"data: more\n\n") == b""


def test_a_client_that_asked_gets_the_chunk_of_usage() -> None:
    out = relay().feed(sse(said(), {**NAMED, "choices": [], "usage": {"prompt_tokens": 5}}, "[DONE]"))
    assert chunks_of(out)[-1]["usage"] == {"prompt_tokens": 5}


def test_usage_beside_a_choice_passes() -> None:
    out = relay(include_usage=False).feed(sse(said(usage={"prompt_tokens": 5}), "[DONE]"))
    assert chunks_of(out)[0]["usage"] == {"prompt_tokens": 5}


def test_an_end_that_is_not_said_is_added() -> None:
    out, error = run(relay(), [sse(said(), chunk({}, "stop", **NAMED))])
    assert error is None
    assert out.endswith(DONE)


def test_an_empty_answer_is_an_answer() -> None:
    out, error = run(relay(), [sse(chunk({"role": "assistant"}, **NAMED), "[DONE]")])
    assert error is None
    assert len(chunks_of(out)) == 1


def test_done_without_an_answer_is_an_error() -> None:
    with pytest.raises(UpstreamFailed, match="before its answer began"):
        relay().feed(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "odd",
    [
        b"data: null\n\n",
        b"data: \n\n",
        b'data: {"choices":5}\n\n',
        b'data: {"choices":[5]}\n\n',
        b'data: {"id":5,"choices":[{"delta":null}]}\n\n',
        b"event: ping\n\n",
    ],
)
def test_frames_that_say_nothing(odd: bytes) -> None:
    one = relay()
    assert one.feed(b"\n" + odd) == b""
    assert not one.started


def test_a_cut_last_frame_is_a_truncated_stream() -> None:
    out, error = run(relay(), [sse(said()) + b'data: {"choices":[{"del'])
    assert isinstance(error, UpstreamFailed)
    assert not error.retryable
    assert out.count(b"data: ") == 1


def test_an_error_in_a_last_frame_without_a_blank_line_is_told() -> None:
    one = relay()
    one.feed(sse(said()))
    assert one.feed(b'data: {"choices":[{"delta":{"content":"b"}}]}\n\ndata: {"error":{"code":503}}') != b""
    with pytest.raises(Overloaded):
        one.finish()
    first = sse(said()) + b"\n".join([b"data: {", b'data: "error":{"code":503}}'])
    assert isinstance(run(relay(), [first])[1], Overloaded)


def test_content_in_a_last_frame_is_sent_before_the_error() -> None:
    one = relay()
    one.feed(sse(said()))
    assert one.feed(sse(said("b")).rstrip(b"\n")) == b""
    out = one.finish()
    assert one.failed
    assert b'"b"' in out
    assert b"before its answer was complete" in out


def test_what_the_relay_passes_is_what_the_chat_machine_reads() -> None:
    """A whole answer, relayed in pieces, is the same to an OpenAI client as to an Anthropic one."""
    pieces = sse(
        chunk({"role": "assistant"}, **NAMED),
        calls(call(0, "read", "", "call_1")) | NAMED,
        calls(call(0, None, '{"a":1}')) | NAMED,
        chunk({}, "tool_calls", **NAMED),
        "[DONE]",
    )
    out, _ = run(relay(), [pieces])
    completion = sdk_completion(sdk_chunks(out))
    block = to_message(completion, context())["content"][0]
    assert (block["id"], block["name"], block["input"]) == ("call_1", "read", {"a": 1})
