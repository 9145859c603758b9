"""A finished Message as the events of a stream, and a stream's bytes as a finished Message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from wire.errors import UpstreamFailed
from wire.fold import Fold
from wire.sse import encode_event, frames_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Event, Json, Message

# What `message_delta` tells at the end; `message_start` has everything else.
_LATE = ("stop_reason", "stop_sequence", "container", "stop_details")


def unfold_bytes(message: Message) -> bytes:
    """Give the stream's bytes of a finished Message."""
    return b"".join(encode_event(event) for event in unfold(message))


def unfold(message: Message) -> Iterator[Event]:
    """Give the events of a finished Message; each text and each input is one delta.

    Blocks of types that have no deltas come whole in their `content_block_start`, as they do upstream.
    """
    usage = message.get("usage") or {}
    started = {name: value for name, value in message.items() if name not in _LATE}
    yield {
        "type": "message_start",
        "message": {**started, "content": [], "stop_reason": None, "stop_sequence": None},
    }
    for index, block in enumerate(message.get("content") or ()):
        start, deltas = _unfolded(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {name: message[name] for name in _LATE if name in message}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": None, "stop_sequence": None, **delta},
        "usage": usage,
    }
    yield {"type": "message_stop"}


def _unfolded(block: Json) -> tuple[Json, list[Json]]:
    """Give a block as it starts, and the deltas that make it whole."""
    match block:
        case {"type": "text", "text": str(text)}:
            deltas = [{"type": "text_delta", "text": text}] if text else []
            if not isinstance(citations := block.get("citations"), list):
                return {**block, "text": ""}, deltas
            cited = [{"type": "citations_delta", "citation": citation} for citation in citations]
            return {**block, "text": "", "citations": []}, deltas + cited
        case {"type": "thinking", "thinking": str(thinking)}:
            deltas = [{"type": "thinking_delta", "thinking": thinking}] if thinking else []
            if "signature" not in block:
                return {**block, "thinking": ""}, deltas
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*deltas, signed]
        case {"type": "tool_use" | "server_tool_use" | "mcp_tool_use", "input": given}:
            written = {"type": "input_json_delta", "partial_json": orjson.dumps(given).decode()}
            return {**block, "input": {}}, [] if given == {} else [written]
        case _:
            return block, []


_EVENTS = frozenset(
    {
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_start",
        "message_stop",
        "ping",
    }
)
_DELTAS = frozenset(
    {"citations_delta", "input_json_delta", "signature_delta", "text_delta", "thinking_delta"}
)


def fold_bytes(stream: bytes) -> Message | None:
    """Give the finished Message of a stream's bytes; None if not all of them are understood."""
    fold = Fold()
    try:
        for frame in frames_of(stream):
            event = orjson.loads(frame.data)
            if event["type"] not in _EVENTS:
                return None
            if event["type"] == "content_block_delta" and event["delta"]["type"] not in _DELTAS:
                return None
            fold.add(event)
        return fold.message()
    except (ValueError, TypeError, LookupError, UpstreamFailed):
        return None
