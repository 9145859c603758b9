"""Events of a message stream, folded into the finished Message.

The same as the anthropic SDK's accumulator gives, except that tool input which is no JSON object is an
error: half an input must not look like a whole one. Only a message cut by `max_tokens` may end in half an
input, and it says so in its `stop_reason`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jiter
import orjson

from wire.errors import UpstreamFailed

if TYPE_CHECKING:
    from wire.messages import Event, Json, Message

_DEEP = 250
"""orjson writes 254 levels; an input that may be deeper is tried."""


class Fold:
    """Folds the events of one message, given in order."""

    __slots__ = ("_message", "_pieces")

    def __init__(self) -> None:
        self._message: Message = {}
        self._pieces: list[list[str]] = []

    def add(self, event: Event) -> None:
        """Take the next event; pings and events of unknown types change nothing."""
        match event["type"]:
            case "content_block_delta":
                self._add_delta(event["index"], event["delta"])
            case "content_block_start":
                self._message["content"].append(dict(event["content_block"]))
                self._pieces.append([])
            case "message_start":
                self._message = {**event["message"], "content": [], "usage": dict(event["message"]["usage"])}
            case "message_delta":
                changed = {
                    name: value for name, value in event["delta"].items() if name != "container" or value
                }
                self._message.update(changed)
                told = {name: count for name, count in event["usage"].items() if count is not None}
                self._message["usage"].update(told)
            case _:
                pass

    def message(self) -> Message:
        """Give the finished Message; raises UpstreamFailed if a tool's input is no JSON object."""
        cut = self._message["stop_reason"] == "max_tokens"
        for block, pieces in zip(self._message["content"], self._pieces, strict=True):
            if not pieces:
                continue
            whole = "".join(pieces)
            pieces.clear()
            if block["type"] in {"text", "thinking"}:
                block[block["type"]] += whole
            else:
                block["input"] = _input(whole, block["name"], cut=cut)
        return self._message

    def _add_delta(self, index: int, delta: Json) -> None:
        match delta["type"]:
            case "text_delta":
                self._pieces[index].append(delta["text"])
            case "thinking_delta":
                self._pieces[index].append(delta["thinking"])
            case "input_json_delta":
                self._pieces[index].append(delta["partial_json"])
            case "signature_delta":
                self._message["content"][index]["signature"] = delta["signature"]
            case "citations_delta":
                block = self._message["content"][index]
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case _:
                pass


def _input(arguments: str, name: str, *, cut: bool) -> Json:
    """Parse a tool's arguments; `cut` says that they may end early, and are then kept as far as they go."""
    if not arguments:
        return {}
    parsed = _parsed(arguments)
    if parsed is None and cut:
        parsed = _parsed_so_far(arguments)
    if not isinstance(parsed, dict):
        raise UpstreamFailed(f"the model called the tool {name!r} with arguments that are no JSON object")
    if arguments.count("{") + arguments.count("[") > _DEEP:
        try:
            orjson.dumps(parsed)
        except TypeError as error:
            raise UpstreamFailed(
                f"the model called the tool {name!r} with arguments nested too deep"
            ) from error
    return parsed


def _parsed(arguments: str) -> Any:
    try:
        return orjson.loads(arguments)
    except ValueError:
        return None


def _parsed_so_far(arguments: str) -> Any:
    """Parse JSON that ends early, as the anthropic SDK does."""
    try:
        return jiter.from_json(arguments.encode("utf-8", "replace"), partial_mode=True) or {}
    except ValueError:
        return None
