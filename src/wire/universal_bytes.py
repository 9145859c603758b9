"""A chat stream's bytes as the universal stream's (`wire.universal`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wire.chat_bytes import ChatBytes
from wire.universal import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.answer import AnswerContext
    from wire.errors import GatewayError
    from wire.messages import Event, Json

_SAID = frozenset({"choices", "created", "error", "object"})
_CHOICE_SAID = frozenset({"delta", "index", "message"})
_DELTA_SAID = frozenset(
    {"content", "reasoning", "reasoning_content", "reasoning_details", "refusal", "role", "tool_calls"}
)


class UniversalBytes(ChatBytes):
    """Chat SSE bytes in, universal SSE bytes out, whole frames only; the interface of `ChatBytes`."""

    __slots__ = ("_index", "_known", "_model", "_provider", "_untold")

    def __init__(self, context: AnswerContext, provider: str) -> None:
        super().__init__(context)
        self._provider = provider
        self._model = context.upstream_model
        self._index = 0
        self._known: Json = {}
        self._untold: Json = {}

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the `error` chunk that ends the stream instead of `end`."""
        self.failed = True
        return self._frame("error", {"type": error.type, "message": error.told, "request_id": request_id})

    def _write(self, events: list[Event], chunk: Json | None) -> list[bytes]:
        if chunk is not None:
            self._note(chunk)
        return [self._frame(kind, delta) for event in events for kind, delta in self._told(event)]

    def _told(self, event: Event) -> Iterator[tuple[str, Json]]:
        """Give kind and delta of what an event of the message comes to."""
        match event["type"]:
            case "content_block_start":
                self._index = event["index"]
                yield from _opened(event["content_block"])
            case "content_block_delta":
                yield _delta(event["delta"])
            case "message_delta":
                if self.usage is not None:
                    yield "usage", {**self.usage, "cost_usd": self.cost}
                yield "end", dict(event["delta"])

    def _note(self, chunk: Json) -> None:
        """Keep what the chunk says beside the answer, as far as it is new."""
        for name, value in _beside(chunk):
            if self._known.get(name) != value:
                self._known[name] = self._untold[name] = value

    def _frame(self, kind: str, delta: Json) -> bytes:
        chunk = {
            "v": VERSION,
            "provider": self._provider,
            "model": self._model,
            "index": self._index,
            "kind": kind,
            "delta": delta,
            "raw": self._untold,
        }
        frame = b"data: %b\n\n" % orjson.dumps(chunk)
        self._untold = {}
        return frame


def _opened(block: Json) -> Iterator[tuple[str, Json]]:
    """Tell of a block that begins with something in it: a call's name, or encrypted reasoning."""
    match block["type"]:
        case "tool_use" | "server_tool_use":
            yield "tool_call", {"id": block["id"], "name": block["name"]}
        case "redacted_thinking":
            yield "reasoning", {"data": block["data"]}


def _delta(delta: Json) -> tuple[str, Json]:
    match delta["type"]:
        case "text_delta":
            return "text", {"text": delta["text"]}
        case "thinking_delta":
            return "reasoning", {"text": delta["thinking"]}
        case "signature_delta":
            return "reasoning", {"signature": delta["signature"]}
        case "citations_delta":
            return "text", {"citation": delta["citation"]}
        case _:
            return "tool_call", {"arguments": delta["partial_json"]}


def _beside(chunk: Json) -> Iterator[tuple[str, Any]]:
    """Give what a chunk says beside the answer: its own fields, its choice's, and its delta's."""
    choices = chunk.get("choices")
    choice = choices[0] if choices and isinstance(choices, list) else None
    choice = choice if isinstance(choice, dict) else {}
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    for said, value in ((_SAID, chunk), (_CHOICE_SAID, choice), (_DELTA_SAID, delta)):
        yield from ((name, one) for name, one in value.items() if name not in said and one is not None)
