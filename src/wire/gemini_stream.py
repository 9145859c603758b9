"""An Anthropic message's events as Gemini's GenerateContentResponses, streamed or whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wire.openai_turns import ANTHROPIC_FORMAT
from wire.signature import MARK, pack_details
from wire.told import told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire.messages import Event, Json, Message

_FINISHES = {
    "max_tokens": "MAX_TOKENS",
    "model_context_window_exceeded": "MAX_TOKENS",
    "refusal": "SAFETY",
}
"""Anything else is STOP."""


def to_gemini_response(message: Message) -> Json:
    """Write the Message as one response: those of its stream, folded."""
    stream = ToGeminiStream()
    return fold_responses(response for event in told(message) for response in stream.feed(event))


class ToGeminiStream:
    """Events in, responses out. Calls come whole, as Gemini gives them: its clients know nothing of halves.

    Anthropic's signature travels in `thoughtSignature`, within ours, so that it is known for what it is when
    the client sends it back. What Anthropic's servers did, and citations, are not told.
    """

    __slots__ = ("_arguments", "_block", "_frame", "_signature", "_stop", "_usage")

    def __init__(self) -> None:
        self._frame: Json = {}
        self._block: Json = {}
        self._arguments: list[str] = []
        self._signature = ""
        self._usage: Json = {}
        self._stop = ""

    def feed(self, event: Event) -> list[Json]:
        """Take the next event; pings and events of unknown types say nothing."""
        match event["type"]:
            case "message_start":
                message = event["message"]
                self._frame = {"modelVersion": message["model"], "responseId": message["id"]}
                self._take_usage(message.get("usage"))
            case "content_block_start":
                self._block = event["content_block"]
                self._arguments = []
                self._signature = self._block.get("signature") or ""
                return self._say(self._block.get("text") or self._block.get("thinking"))
            case "content_block_delta":
                return self._delta(event["delta"])
            case "content_block_stop":
                return self._close()
            case "message_delta":
                self._stop = event["delta"].get("stop_reason") or ""
                self._take_usage(event.get("usage"))
            case "message_stop":
                last: Json = {"candidates": [{"index": 0, "finishReason": _FINISHES.get(self._stop, "STOP")}]}
                if self._usage:
                    last["usageMetadata"] = _usage_metadata(self._usage)
                return [last | self._frame]
        return []

    def _delta(self, delta: Json) -> list[Json]:
        match delta["type"]:
            case "text_delta":
                return self._say(delta["text"])
            case "thinking_delta":
                return self._say(delta["thinking"])
            case "signature_delta":
                self._signature = delta["signature"]
            case "input_json_delta":
                self._arguments.append(delta["partial_json"])
        return []

    def _close(self) -> list[Json]:
        match self._block:
            case {"type": "thinking"} if self._signature:
                detail = {"type": "reasoning.text", "signature": self._signature}
                return [self._part({"text": "", "thought": True, "thoughtSignature": self._sealed(detail)})]
            case {"type": "redacted_thinking", "data": data}:
                self._signature = data
                detail = {"type": "reasoning.encrypted", "data": data}
                return [self._part({"text": "", "thought": True, "thoughtSignature": self._sealed(detail)})]
            case {"type": "tool_use", "id": identity, "name": name, "input": given}:
                args = orjson.loads("".join(self._arguments) or "{}") or given
                return [self._part({"functionCall": {"id": identity, "name": name, "args": args}})]
        return []

    def _say(self, text: str | None) -> list[Json]:
        if not text:
            return []
        return [
            self._part(
                {"text": text, "thought": True} if self._block["type"] == "thinking" else {"text": text}
            )
        ]

    def _sealed(self, detail: Json) -> str:
        """Put Anthropic's signature into ours, for the model of the answer; one of ours is as it is."""
        if self._signature.startswith(MARK):
            return self._signature
        return pack_details([{**detail, "format": ANTHROPIC_FORMAT}], self._frame["modelVersion"])

    def _part(self, part: Json) -> Json:
        return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}], **self._frame}

    def _take_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: count for name, count in usage.items() if count is not None}


def fold_responses(responses: Iterable[Json]) -> Json:
    """Fold the responses of one stream into one; texts that go on are joined, up to a signature."""
    whole: Json = {}
    parts: list[Json] = []
    for response in responses:
        (candidate,) = response["candidates"]
        for part in candidate.get("content", {}).get("parts", ()):
            last = parts[-1] if parts else {}
            if "text" in part and "text" in last and "thoughtSignature" not in last and _alike(last, part):
                parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
            else:
                parts.append(part)
        ended = {name: value for name, value in candidate.items() if name != "content"}
        whole = {**response, "candidates": [{"content": {"role": "model", "parts": parts}, **ended}]}
    return whole


def _alike(one: Json, other: Json) -> bool:
    return bool(one.get("thought")) == bool(other.get("thought"))


def _usage_metadata(usage: Json) -> Json:
    cached = usage.get("cache_read_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0) + cached
    written = usage.get("output_tokens") or 0
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    made = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": cached,
        "candidatesTokenCount": written - (thought or 0),
        "totalTokenCount": prompt + written,
    }
    return made if thought is None else {**made, "thoughtsTokenCount": thought}
