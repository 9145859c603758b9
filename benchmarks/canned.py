"""What the fake upstream answers: OpenRouter's two wires, ready-made bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CHUNKS = 200
WORDS = [f" gate{index:03d}" for index in range(CHUNKS)]
STREAM_TEXT = "".join(WORDS)
PLAIN_TEXT = "A headgate stands at the head of a channel and decides how much water flows into it, and where."

_COMMENT = b": OPENROUTER PROCESSING\n\n"
_GENERATION = "gen-1763900000-bench"
_CREATED = 1_763_900_000
_COST = {"cost": 0.00214, "is_byok": False}
_CHAT_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": CHUNKS,
    "total_tokens": 1200 + CHUNKS,
    "prompt_tokens_details": {"cached_tokens": 1000},
    "completion_tokens_details": {"reasoning_tokens": 0},
    **_COST,
}
_MESSAGES_USAGE = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 1000,
    "output_tokens": CHUNKS,
    **_COST,
}


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire's answers, as whole HTTP responses or the pieces of one."""

    plain: bytes  # head and JSON body
    stream: bytes  # head and chunked SSE body, whole
    pieces: tuple[bytes, ...]  # the same, one SSE frame each
    opening: bytes  # head and first frames of a stream that then says nothing


def _dump(value: Any) -> bytes:
    text: str = json.dumps(value, separators=(",", ":"))
    return text.encode()


def _chat_frame(value: Any) -> bytes:
    return b"data: " + _dump(value) + b"\n\n"


def _event_frame(value: Any) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + _dump(value) + b"\n\n"


def _chat_chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "delta": {"role": "assistant", **delta},
        "finish_reason": finish,
        "native_finish_reason": finish,
        "logprobs": None,
    }
    return {
        "id": _GENERATION,
        "provider": "OpenAI",
        "model": "openai/gpt-5",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "choices": [choice],
        **more,
    }


def _chat_frames() -> list[bytes]:
    frames = [_chat_frame(_chat_chunk({"content": word})) for word in WORDS]
    frames[0] = _COMMENT + frames[0]
    frames.append(_chat_frame(_chat_chunk({"content": ""}, "stop")))
    frames.append(_chat_frame(_chat_chunk({"content": ""}, usage=_CHAT_USAGE)))
    frames.append(b"data: [DONE]\n\n")
    return frames


def _chat_plain() -> bytes:
    message = {"role": "assistant", "content": PLAIN_TEXT, "refusal": None, "reasoning": None}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "logprobs": None,
    }
    return _dump(
        {
            "id": _GENERATION,
            "provider": "OpenAI",
            "model": "openai/gpt-5",
            "object": "chat.completion",
            "created": _CREATED,
            "choices": [choice],
            "usage": _CHAT_USAGE,
        }
    )


def _message(content: list[Any], stop_reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": _GENERATION,
        "type": "message",
        "role": "assistant",
        "model": "anthropic/claude-4-sonnet-20250522",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
        "provider": "Anthropic",
    }


def _messages_frames() -> list[bytes]:
    start = _message([], None, {**_MESSAGES_USAGE, "output_tokens": 1})
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    for word in WORDS:
        delta = {"type": "text_delta", "text": word}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": _MESSAGES_USAGE},
        {"type": "message_stop"},
    ]
    frames = [_event_frame(event) for event in events]
    frames[0] = _COMMENT + frames[0]
    return frames


def _plain_response(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        f"x-generation-id: {_GENERATION}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"x-generation-id: " + _GENERATION.encode() + b"\r\ntransfer-encoding: chunked\r\n\r\n"
)
_STREAM_END = b"0\r\n\r\n"


def _wire(plain: bytes, frames: list[bytes], opening: int) -> Wire:
    pieces = [_chunk(frame) for frame in frames]
    pieces[0] = _STREAM_HEAD + pieces[0]
    pieces[-1] += _STREAM_END
    return Wire(
        plain=_plain_response(plain),
        stream=b"".join(pieces),
        pieces=tuple(pieces),
        opening=b"".join(pieces[:opening]),
    )


def chat_wire() -> Wire:
    return _wire(_chat_plain(), _chat_frames(), 1)


def messages_wire() -> Wire:
    plain = _dump(_message([{"type": "text", "text": PLAIN_TEXT}], "end_turn", _MESSAGES_USAGE))
    return _wire(plain, _messages_frames(), 3)
