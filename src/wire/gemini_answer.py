"""Gemini's answers as Anthropic's: each response, of a stream or whole, is said as chat chunks, one a part.

So the one machine for chat answers (`wire.chat_stream`) writes them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.chat_stream import ChatStream
from wire.errors import UpstreamFailed
from wire.fold import Fold
from wire.gemini_request import GEMINI_FORMAT
from wire.messages import new_id
from wire.tool_calls import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.answer import AnswerContext
    from wire.messages import Event, Json, Message

_FINISHES = {
    "STOP": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
"""Every other reason says that the answer is broken (`MALFORMED_FUNCTION_CALL`), and is an error."""


def gemini_to_message(response: Json, context: AnswerContext) -> Message:
    """Write a whole GenerateContentResponse as a Message; raises UpstreamFailed if it holds no answer."""
    stream = GeminiStream(context)
    fold = Fold()
    for event in (*stream.feed(response), *stream.finish()):
        fold.add(event)
    return fold.message()


class GeminiStream:
    """Responses in, events out; what is known of the answer so far, `chat` knows."""

    __slots__ = ("_calls", "chat")

    def __init__(self, context: AnswerContext) -> None:
        self.chat = ChatStream(context)
        self._calls = 0

    def feed(self, response: Json) -> list[Event]:
        """Take one response; raises what an error inside it means."""
        if response.get("error"):
            return self.chat.feed({"error": response["error"]})
        return [event for chunk in self._chunks(response) for event in self.chat.feed(chunk)]

    def finish(self) -> list[Event]:
        """End the message; raises UpstreamFailed if the stream ended before the answer did."""
        return self.chat.finish()

    def _chunks(self, response: Json) -> Iterator[Json]:
        named = {"id": response["responseId"]} if response.get("responseId") else {}
        candidate: Json = next(iter(response.get("candidates") or ()), {})
        for part in (candidate.get("content") or {}).get("parts") or ():
            for delta in self._deltas(part):
                yield {**named, "choices": [{"delta": delta}]}
        if notes := list(_annotations(candidate.get("groundingMetadata") or {})):
            yield {"choices": [{"delta": {"annotations": notes}}]}
        if usage := response.get("usageMetadata"):
            yield {**named, "choices": [], "usage": _usage(usage)}
        if reason := candidate.get("finishReason"):
            yield {"choices": [{"delta": {}, "finish_reason": _finish(reason, candidate)}]}
        elif (response.get("promptFeedback") or {}).get("blockReason"):
            yield {"choices": [{"delta": {}, "finish_reason": "content_filter"}]}

    def _deltas(self, part: Json) -> Iterator[Json]:
        """Say one part as chat deltas; a signature follows what it is on."""
        signature = part.get("thoughtSignature")
        if part.get("thought"):
            detail = {"type": "reasoning.text", "format": GEMINI_FORMAT}
            yield {"reasoning_details": [{**detail, "text": part.get("text") or ""}]}
            if signature:
                yield {"reasoning_details": [{**detail, "signature": signature}]}
            return
        sealed: Json = {"type": "reasoning.encrypted", "data": signature, "format": GEMINI_FORMAT}
        if isinstance(call := part.get("functionCall"), dict):
            identity = call.get("id") or new_id("call")
            if signature:  # before the call, for it has its own place within the message
                yield {"reasoning_details": [{**sealed, "id": identity}]}
            function = {"name": call.get("name"), "arguments": call.get("args") or {}}
            yield {"tool_calls": [{"index": self._calls, "id": identity, "function": function}]}
            self._calls += 1
            return
        if data := part.get("inlineData"):
            yield {"images": [{"image_url": {"url": f"data:{data.get('mimeType')};base64,"}}]}
        elif text := _text(part):
            yield {"content": text}
        if signature:
            yield {"reasoning_details": [sealed]}


def _text(part: Json) -> str:
    """Give a part as text: code that ran on Google's servers, and its output, as code."""
    match part:
        case {"text": str(text)}:
            return text
        case {"executableCode": {"code": str(code)}}:
            return f"\n```\n{code}\n```\n"
        case {"codeExecutionResult": dict(result)}:
            return f"\n```\n{text_of(result.get('output'))}\n```\n"
        case {"fileData": {"fileUri": str(uri)}}:
            return f"![file]({uri})"
        case _:
            return ""


def _annotations(grounding: Json) -> Iterator[Json]:
    """Give the pages that Google's search found, with the stretches of the answer that they support."""
    chunks = grounding.get("groundingChunks") or []
    for support in grounding.get("groundingSupports") or ():
        segment = support.get("segment") or {}
        for index in support.get("groundingChunkIndices") or ():
            page = chunks[index].get("web") or {} if index < len(chunks) else {}
            cited = {
                "url": page.get("uri"),
                "title": page.get("title"),
                "content": segment.get("text"),
                "start_index": segment.get("startIndex") or 0,
                "end_index": segment.get("endIndex"),
            }
            yield {"type": "url_citation", "url_citation": cited}


def _usage(usage: Json) -> Json:
    """Give Gemini's counts as a chat backend's: thoughts are part of what it wrote."""
    thought = usage.get("thoughtsTokenCount")
    told: Json = {
        "prompt_tokens": (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0),
        "completion_tokens": (usage.get("candidatesTokenCount") or 0) + (thought or 0),
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount") or 0},
    }
    if thought is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": thought}
    return told


def _finish(reason: str, candidate: Json) -> str:
    finish = _FINISHES.get(reason)
    if finish is None:
        why = text_of(candidate.get("finishMessage"))
        raise UpstreamFailed(
            f"the model's answer is broken: {reason[:60]}" + (f": {why[:500]}" if why else "")
        )
    return finish
