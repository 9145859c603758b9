"""The fake's replies on OpenRouter's native Anthropic wire, `/messages`."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.replies import Json, cut, parts_of, sse, stop_of, usage_of

STATUS_TO_TYPE = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_object(status: int, message: str) -> Json:
    return {"type": "error", "error": {"type": STATUS_TO_TYPE.get(status, "api_error"), "message": message}}


def _citation(note: Json) -> Json:
    return {
        "type": "web_search_result_location",
        "url": note["url"],
        "title": note.get("title"),
        "encrypted_index": "",
        "cited_text": note.get("content", ""),
    }


class MessagesRendering:
    """One reply on `/messages`."""

    def __init__(self, reply: Json, model: str, generation: str) -> None:
        self.reply = reply
        self.model = model
        self.generation = generation
        self.size = reply.get("chunk", 12)
        self.parts = parts_of(reply)
        self.stop = stop_of(reply, self.parts)

    def _usage(self) -> Json:
        usage = usage_of(self.reply) or {"input": 0, "output": 0, "cached": 0, "written": 0}
        return {
            "input_tokens": usage["input"],
            "cache_creation_input_tokens": usage["written"],
            "cache_read_input_tokens": usage["cached"],
            "output_tokens": usage["output"],
            "service_tier": "standard",
        }

    def _cost(self) -> Json:
        """Give what the end of an answer tells beside its usage."""
        return {}

    def _message(self, **filled: Any) -> Json:
        return {
            "id": self.generation,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "provider": "Anthropic",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(),
            **filled,
        }

    def _block(self, part: Json) -> Json:
        if "tool" in part:
            given = json.loads(part["arguments"] or "{}")
            return {"type": "tool_use", "id": part["id"], "name": part["tool"], "input": given}
        if "reasoning" in part:
            return {"type": "thinking", "thinking": part["reasoning"], "signature": part["signature"]}
        if "redacted" in part:
            return {"type": "redacted_thinking", "data": part["redacted"]}
        if "block" in part:
            return dict(part["block"])
        block: Json = {"type": "text", "text": part["text"]}
        if part.get("annotations"):
            block["citations"] = [_citation(note) for note in part["annotations"]]
        return block

    def _opened(self, part: Json) -> tuple[Json, list[Json]]:
        """Give the block as it starts, and the deltas that fill it."""
        block = self._block(part)
        deltas: list[Json]
        if "tool" in part:
            pieces = cut(part["arguments"] or "{}", self.size)
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces]]
            return {**block, "input": {}}, deltas
        if "reasoning" in part:
            deltas = [
                {"type": "thinking_delta", "thinking": piece} for piece in cut(part["reasoning"], self.size)
            ]
            deltas.append({"type": "signature_delta", "signature": part["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        if "redacted" in part or "block" in part:
            return block, []
        deltas = [{"type": "text_delta", "text": piece} for piece in cut(part["text"], self.size)]
        deltas.extend(
            {"type": "citations_delta", "citation": _citation(note)} for note in part.get("annotations", [])
        )
        return {"type": "text", "text": ""}, deltas

    def frames(self) -> list[bytes]:
        """Give the stream's pieces, one event each."""
        start = self._message(usage={**self._usage(), "output_tokens": 1})
        events: list[Json] = [{"type": "message_start", "message": start}, {"type": "ping"}]
        for index, part in enumerate(self.parts):
            block, deltas = self._opened(part)
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
            events.append({"type": "content_block_stop", "index": index})
        ending = {"stop_reason": self.stop, "stop_sequence": self.reply.get("stop_sequence")}
        events.append({"type": "message_delta", "delta": ending, "usage": self._usage() | self._cost()})
        events.append({"type": "message_stop"})
        return [b": OPENROUTER PROCESSING\n\n", *(sse(event, event["type"]) for event in events)]

    def whole(self) -> Json:
        """Give the Message of a non-stream request."""
        return self._message(
            content=[self._block(part) for part in self.parts],
            stop_reason=self.stop,
            stop_sequence=self.reply.get("stop_sequence"),
            usage=self._usage() | self._cost(),
        )

    def error_frame(self, error: Json) -> bytes:
        status = error["code"] if isinstance(error["code"], int) else 500
        return sse(error_object(status, error["message"]), "error")


class PricedRendering(MessagesRendering):
    """One reply of OpenRouter's, which tells its cost at the end."""

    def _cost(self) -> Json:
        usage = usage_of(self.reply)
        return {} if usage is None else {"cost": usage["cost"]}
