"""Thinking on both wires: how much of it is asked for, and how earlier thinking goes back to its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.errors import UnsupportedContent
from wire.signature import unpack_details

if TYPE_CHECKING:
    from wire.messages import Json


def reasoning_of(body: Json) -> Json | None:
    """Give OpenRouter's `reasoning` for `thinking` and `output_config.effort`; None says nothing.

    OpenRouter takes an effort or a number of tokens, never both: a budget is the more exact of the two.
    """
    thinking = body.get("thinking") or {}
    effort = effort_asked(body)
    match thinking.get("type"):
        case "enabled":
            return {"max_tokens": thinking["budget_tokens"]}
        case "disabled":
            return {"enabled": False}
        case "adaptive" | "between_tools":
            return {"effort": effort} if effort else {"enabled": True}
        case None:
            return {"effort": effort} if effort else None
        case other:
            raise UnsupportedContent(f"thinking.type: {other[:40]!r} has no form on a chat backend's wire")


def effort_asked(body: Json) -> str | None:
    """Give the effort asked for, of which a later `role: "system"` message may have the last word."""
    for message in reversed(body["messages"]):
        if message["role"] == "system" and isinstance(message.get("output_config"), dict):
            effort = message["output_config"].get("effort")
            if isinstance(effort, str):
                return effort
    return (body.get("output_config") or {}).get("effort")


def restored(block: Json, model: str) -> list[Json]:
    """Give the `reasoning_details` that a thinking or redacted_thinking block carries for `model`.

    Empty when the block was not made here, or by another model: a chat backend could only refuse it.
    """
    sealed = block.get("signature") if block["type"] == "thinking" else block["data"]
    return unpack_details(sealed or "", model) or []
