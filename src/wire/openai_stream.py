"""An Anthropic message's events as chat.completion.chunk objects: the one renderer for OpenAI's clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from wire.errors import UpstreamFailed
from wire.openai_turns import ANTHROPIC_FORMAT
from wire.openai_usage import chat_usage

if TYPE_CHECKING:
    from wire.messages import Event, Json

_FINISHES = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Anything else is "stop"; `native_finish_reason` tells Anthropic's own word."""


@dataclass(frozen=True, slots=True)
class OpenAIShape:
    """What the client asked of the form of its answer.

    `created` is the answer's time in Unix seconds. `include_usage` asks for a last chunk with the usage,
    `functions` for `function_call`, as it was before there were tools.
    """

    model: str
    created: int
    include_usage: bool = False
    functions: bool = False


def shape_of(body: Json, *, model: str, created: float) -> OpenAIShape:
    """Read the shape off a checked chat/completions request; `model` is what the client is told."""
    return OpenAIShape(
        model=model,
        created=int(created),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        functions=bool(body.get("functions")),
    )


class OpenAIStream:
    """Events in, chunks out; no I/O.

    The events are those of a well-formed message: one open block at a time. `usage` and `stop_reason` are
    Anthropic's, as they are known so far. What has no place in a chat message is not told: the calls and
    results of tools that Anthropic's servers ran (their citations are), and citations without an address.
    """

    __slots__ = ("_block", "_calls", "_citations", "_id", "_index", "_said", "_shape", "_start",
                 "_written", "stop_reason", "stop_sequence", "usage")  # fmt: skip

    def __init__(self, shape: OpenAIShape) -> None:
        self.usage: Json = {}
        self.stop_reason: str | None = None
        self.stop_sequence: str | None = None
        self._shape = shape
        self._id = ""
        self._block: str = ""
        self._index = 0
        self._calls = -1
        self._citations: list[Json] = []
        self._said = 0  # characters of the content so far
        self._start = 0  # of them, those before the open block
        self._written = False  # whether the open block has arguments, or reasoning, yet

    def feed(self, event: Event) -> list[Json]:
        """Take the next event; pings and events of unknown types say nothing."""
        match event["type"]:
            case "content_block_delta":
                return self._delta(event["delta"])
            case "content_block_start":
                return self._open(event["content_block"], event["index"])
            case "content_block_stop":
                return self._close()
            case "message_start":
                message = event["message"]
                self._id = f"chatcmpl-{message['id']}"
                self._take_usage(message.get("usage"))
                return [self._chunk({"role": "assistant", "content": ""})]
            case "message_delta":
                self.stop_reason = event["delta"].get("stop_reason")
                self.stop_sequence = event["delta"].get("stop_sequence")
                self._take_usage(event.get("usage"))
                return []
            case "message_stop":
                return self._end()
            case _:
                return []

    def _open(self, block: Json, index: int) -> list[Json]:
        self._block = block["type"]
        self._index = index
        self._start = self._said
        self._written = False
        match block:
            case {"type": "text"}:
                self._citations = [*(block.get("citations") or ())]
                return self._text(block["text"])
            case {"type": "thinking"}:
                chunks = self._reasoning({"text": block["thinking"]}) if block.get("thinking") else []
                if block.get("signature"):
                    chunks += self._reasoning({"signature": block["signature"]})
                return chunks
            case {"type": "redacted_thinking"}:
                return [
                    self._chunk({"reasoning_details": [self._detail("encrypted", {"data": block["data"]})]})
                ]
            case {"type": "tool_use"}:
                self._calls += 1
                if self._shape.functions and self._calls:
                    raise UpstreamFailed(
                        "the model called two functions at once, which function_call cannot tell"
                    )
                chunks = [self._call({"name": block["name"], "arguments": ""}, block["id"])]
                return chunks + (
                    self._arguments(orjson.dumps(block["input"]).decode()) if block["input"] else []
                )
            case _:
                return []

    def _delta(self, delta: Json) -> list[Json]:
        match delta:
            case {"type": "text_delta", "text": text}:
                return self._text(text)
            case {"type": "input_json_delta", "partial_json": json} if self._block == "tool_use":
                return self._arguments(json)
            case {"type": "thinking_delta", "thinking": text} if text:
                return self._reasoning({"text": text})
            case {"type": "signature_delta", "signature": signature} if signature:
                return self._reasoning({"signature": signature})
            case {"type": "citations_delta", "citation": citation}:
                self._citations.append(citation)
        return []

    def _close(self) -> list[Json]:
        chunks = []
        if self._block == "tool_use" and not self._written:
            chunks = self._arguments("{}")
        annotations = [made for one in self._citations if (made := self._annotation(one))]
        if annotations:
            chunks = [self._chunk({"annotations": annotations})]
        self._citations = []
        self._block = ""
        return chunks

    def _end(self) -> list[Json]:
        reason = _FINISHES.get(self.stop_reason or "", "stop")
        if self._shape.functions and reason == "tool_calls":
            reason = "function_call"
        last = self._chunk({}, finish_reason=reason, native_finish_reason=self.stop_reason)
        if self.stop_sequence is not None:
            last["choices"][0]["stop_reason"] = self.stop_sequence  # vLLM's place for it
        if not self._shape.include_usage or not self.usage:
            return [last]
        return [last, {**self._frame(), "choices": [], "usage": chat_usage(self.usage)}]

    def _text(self, text: str) -> list[Json]:
        if not text:
            return []
        self._said += len(text)
        return [self._chunk({"content": text})]

    def _arguments(self, json: str) -> list[Json]:
        if not json:
            return []
        self._written = True
        return [self._call({"arguments": json})]

    def _call(self, function: Json, identity: str = "") -> Json:
        if self._shape.functions:
            return self._chunk({"function_call": function})
        call: Json = {"index": self._calls}
        if identity:
            call |= {"id": identity, "type": "function"}
        return self._chunk({"tool_calls": [{**call, "function": function}]})

    def _reasoning(self, said: Json) -> list[Json]:
        shown = {"reasoning": said["text"]} if "text" in said else {}
        return [self._chunk({**shown, "reasoning_details": [self._detail("text", said)]})]

    def _detail(self, kind: str, said: Json) -> Json:
        """Make a piece of a detail; only a block's first names the format, for clients join what is text."""
        form = {} if self._written else {"format": ANTHROPIC_FORMAT}
        self._written = True
        return {"type": f"reasoning.{kind}", **said, **form, "index": self._index}

    def _annotation(self, citation: Json) -> Json | None:
        """Give a citation as OpenAI has it: of an address, for a stretch of the content, here the block's."""
        if not citation.get("url"):
            return None
        cited: Json = {
            "url": citation["url"],
            "title": citation.get("title") or "",
            "start_index": self._start,
            "end_index": self._said,
        }
        if citation.get("cited_text"):
            cited["content"] = citation["cited_text"]
        return {"type": "url_citation", "url_citation": cited}

    def _take_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.usage = self.usage | {name: count for name, count in usage.items() if count is not None}

    def _chunk(self, delta: Json, *, finish_reason: str | None = None, **more: Any) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason, **more}
        return {**self._frame(), "choices": [choice]}

    def _frame(self) -> Json:
        shape = self._shape
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": shape.created,
            "model": shape.model,
        }
