"""A finished Message told as the events that would have brought it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Event, Json, Message


def told(message: Message) -> Iterator[Event]:
    """Give the events of `message`; folded (`wire.fold`), they are the message again."""
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": message.get("stop_sequence")}
    yield {"type": "message_delta", "delta": ended, "usage": dict(message.get("usage") or {})}
    yield {"type": "message_stop"}


def _empty(block: Json) -> Json:
    """Give the block as it starts, before its deltas."""
    match block["type"]:
        case "text":
            return {name: value for name, value in block.items() if name != "citations"} | {"text": ""}
        case "thinking":
            return block | {"thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return block | {"input": {}}
        case _:
            return block


def _deltas(block: Json) -> Iterator[Json]:
    match block["type"]:
        case "text":
            if block["text"]:
                yield {"type": "text_delta", "text": block["text"]}
            for citation in block.get("citations") or ():
                yield {"type": "citations_delta", "citation": citation}
        case "thinking":
            if block["thinking"]:
                yield {"type": "thinking_delta", "thinking": block["thinking"]}
            if block.get("signature"):
                yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            yield {"type": "input_json_delta", "partial_json": orjson.dumps(block["input"]).decode()}
