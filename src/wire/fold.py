"""Events of a message stream, folded into the finished Message.

The same as the anthropic SDK's accumulator gives. Where that fails on a tool's input (`wire.tool_input`),
so does this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.tool_input import read_input

if TYPE_CHECKING:
    from wire.messages import Event, Json, Message


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
        """Give the finished Message; raises UpstreamFailed if a tool's input cannot be read."""
        for block, pieces in zip(self._message["content"], self._pieces, strict=True):
            if not pieces:
                continue
            whole = "".join(pieces)
            pieces.clear()
            if block["type"] in {"text", "thinking"}:
                block[block["type"]] += whole
            else:
                block["input"] = read_input(whole, block["name"])
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
