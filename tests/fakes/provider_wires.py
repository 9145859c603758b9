"""The replies of `replies`, on the wire of each provider that has one of its own.

A wire renders a reply as the pieces of its stream, tells errors before and within it, and says what is wrong
with a request. The facts are each provider's published API; `test_provider_wires` has the providers' own SDKs
read what is made here.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from tests.fakes.event_stream import encode_message
from tests.fakes.laws import messages_complaint
from tests.fakes.messages_replies import MessagesRendering, error_object
from tests.fakes.replies import STOP_TO_FINISH, Json, cut, parts_of, sse, stop_of, usage_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.rules import Seen


class Wire:
    """One provider's wire; `reply` is a reply of `replies`."""

    content_type = "text/event-stream"
    key_header: ClassVar[str] = "authorization"

    def __init__(self, reply: Json, model: str) -> None:
        self.reply = reply
        self.model = model
        self.size = reply.get("chunk", 12)
        self.parts = parts_of(reply)
        self.stop = stop_of(reply, self.parts)
        self.usage = usage_of(reply)

    def frames(self) -> list[bytes]:
        raise NotImplementedError

    def error_frame(self, error: Json) -> bytes:
        raise NotImplementedError

    @staticmethod
    def error_body(status: int, message: str) -> Json:
        raise NotImplementedError

    @classmethod
    def complaint(cls, seen: Seen) -> str:
        """Say what this provider would refuse in the request; "" if nothing."""
        if not seen.headers.get(cls.key_header):
            return f"no {cls.key_header} header"
        return unknown(seen.body, cls.fields) or cls.law(seen)

    fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def law(cls, _seen: Seen) -> str:
        return ""


def unknown(body: Any, fields: frozenset[str]) -> str:
    if not isinstance(body, dict):
        return "the body is no JSON object"
    return ", ".join(f"unknown field: {name}" for name in sorted(body.keys() - fields))


class AnthropicWire(Wire):
    key_header = "x-api-key"

    def frames(self) -> list[bytes]:
        return MessagesRendering(self.reply, self.model, f"msg_{uuid.uuid4().hex[:24]}").frames()

    def error_frame(self, error: Json) -> bytes:
        return sse(error_object(error["code"], error["message"]), "error")

    @staticmethod
    def error_body(status: int, message: str) -> Json:
        return error_object(status, message)

    @classmethod
    def complaint(cls, seen: Seen) -> str:
        if not seen.headers.keys() & {"x-api-key", "authorization"}:
            return "x-api-key header is required"
        return messages_complaint(seen.body)


OPENAI_FIELDS = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens",
        "temperature", "top_p", "n", "stop", "tools", "tool_choice", "parallel_tool_calls", "response_format",
        "seed", "user", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs",
        "reasoning_effort", "service_tier", "store", "metadata", "modalities", "audio", "prediction",
        "web_search_options", "verbosity", "prompt_cache_key", "safety_identifier", "function_call",
        "functions",
    }
)  # fmt: skip
MESSAGE_FIELDS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "function_call"}
)


class OpenAIWire(Wire):
    fields = OPENAI_FIELDS

    @classmethod
    def law(cls, seen: Seen) -> str:
        return "".join(unknown(message, MESSAGE_FIELDS) for message in seen.body["messages"])

    def _chunk(self, choices: list[Json], **extra: Any) -> Json:
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self.model,
            "system_fingerprint": "fp_fake",
            "choices": choices,
            **extra,
        }

    def _delta(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._chunk([choice], usage=None)

    def _reasoning(self, _part: Json) -> Iterator[Json]:
        yield from ()  # OpenAI's chat endpoint does not show it

    def _head(self) -> Iterator[Json]:
        yield self._delta({"role": "assistant", "content": "", "refusal": None})

    def _chunks(self) -> Iterator[Json]:
        yield from self._head()
        if refusal := self.reply.get("refusal"):
            yield from (self._delta({"refusal": piece}) for piece in cut(refusal, self.size))
        calls = 0
        for part in self.parts:
            if "text" in part:
                yield from (self._delta({"content": piece}) for piece in cut(part["text"], self.size))
            elif "tool" in part:
                yield from self._call(part, calls)
                calls += 1
            elif "reasoning" in part:
                yield from self._reasoning(part)
        yield self._delta({}, STOP_TO_FINISH.get(self.stop, self.stop))
        if (usage := self._usage()) is not None:
            yield self._chunk([], usage=usage)

    def _call(self, part: Json, index: int) -> Iterator[Json]:
        function = {"name": part["tool"], "arguments": ""}
        head = {"index": index, "id": part["id"], "type": "function", "function": function}
        yield self._delta({"tool_calls": [head]})
        for piece in cut(part["arguments"] or "{}", self.size):
            yield self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def _usage(self) -> Json | None:
        if self.usage is None:
            return None
        prompt = self.usage["input"] + self.usage["cached"]
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.usage["output"],
            "total_tokens": prompt + self.usage["output"],
            "prompt_tokens_details": {"cached_tokens": self.usage["cached"], "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.usage["reasoning"], "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        }  # fmt: skip

    def frames(self) -> list[bytes]:
        return [*map(sse, self._chunks()), b"data: [DONE]\n\n"]

    def error_frame(self, error: Json) -> bytes:
        return sse(self.error_body(error["code"], error["message"]))

    @staticmethod
    def error_body(status: int, message: str) -> Json:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}


class AzureWire(OpenAIWire):
    """Azure OpenAI: OpenAI's stream, begun by the prompt's filter results."""

    key_header = "api-key"
    FILTERED: ClassVar[Json] = {
        name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
    }

    def _head(self) -> Iterator[Json]:
        found = [{"prompt_index": 0, "content_filter_results": self.FILTERED}]
        yield {**self._chunk([], prompt_filter_results=found), "id": "", "model": "", "object": ""}
        yield from super()._head()

    @staticmethod
    def error_body(status: int, message: str) -> Json:
        return {"error": {"code": str(status), "message": message}}

    @classmethod
    def law(cls, seen: Seen) -> str:
        if "api-version=" not in seen.query:
            return "Resource not found"
        return super().law(seen)


class MistralWire(OpenAIWire):
    """Mistral: OpenAI's form, with thinking as a content part."""

    fields = frozenset(
        {
            "model", "messages", "stream", "max_tokens", "temperature", "top_p", "stop", "random_seed",
            "tools", "tool_choice", "parallel_tool_calls", "response_format", "presence_penalty",
            "frequency_penalty", "n", "prediction", "prompt_mode", "safe_prompt", "reasoning_effort",
            "metadata",
        }
    )  # fmt: skip

    def _chunk(self, choices: list[Json], **extra: Any) -> Json:
        made = {name: value for name, value in super()._chunk(choices, **extra).items() if value is not None}
        del made["system_fingerprint"]
        return made

    def _head(self) -> Iterator[Json]:
        yield self._delta({"role": "assistant", "content": ""})

    def _reasoning(self, part: Json) -> Iterator[Json]:
        for piece in cut(part["reasoning"], self.size):
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": piece}]}
            yield self._delta({"content": [thought]})

    def _call(self, part: Json, index: int) -> Iterator[Json]:
        # Mistral sends each call whole, in one chunk.
        function = {"name": part["tool"], "arguments": part["arguments"] or "{}"}
        yield self._delta({"tool_calls": [{"id": part["id"][-9:], "function": function, "index": index}]})

    def frames(self) -> list[bytes]:
        *chunks, last, usage = self._chunks() if self.usage else [*self._chunks(), {}]
        return [
            *map(sse, chunks),
            sse({**last, **({"usage": usage["usage"]} if usage else {})}),
            b"data: [DONE]\n\n",
        ]

    @staticmethod
    def error_body(status: int, message: str) -> Json:
        return {"object": "error", "message": message, "type": "invalid_request", "code": str(status)}


class GeminiWire(Wire):
    """Google's streamGenerateContent with `alt=sse`; requests may name fields in either case."""

    key_header = "x-goog-api-key"
    fields = frozenset(
        {
            "contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "tool_config",
            "generationConfig", "generation_config", "safetySettings", "cachedContent",
        }
    )  # fmt: skip
    FINISH: ClassVar[dict[str, str]] = {"max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}
    NAMES: ClassVar[dict[int, str]] = {
        400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
    }  # fmt: skip

    @classmethod
    def law(cls, seen: Seen) -> str:
        if "alt=sse" not in seen.query:
            return "not asked for SSE"
        roles = {content.get("role") for content in seen.body["contents"]}
        return "" if roles <= {"user", "model"} else f"unknown roles: {roles}"

    def _response(self, parts: list[Json], **candidate: Any) -> Json:
        made: Json = {
            "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0, **candidate}],
            "modelVersion": self.model,
            "responseId": "resp-fake",
        }
        if self.usage is not None:
            made["usageMetadata"] = {
                "promptTokenCount": self.usage["input"] + self.usage["cached"],
                "candidatesTokenCount": self.usage["output"] - self.usage["reasoning"],
                "thoughtsTokenCount": self.usage["reasoning"],
                "cachedContentTokenCount": self.usage["cached"],
                "totalTokenCount": self.usage["input"] + self.usage["cached"] + self.usage["output"],
            }
        return made

    def frames(self) -> list[bytes]:
        responses: list[Json] = []
        for part in self.parts:
            if "text" in part:
                responses += [self._response([{"text": piece}]) for piece in cut(part["text"], self.size)]
            elif "reasoning" in part:
                responses += [
                    self._response([{"text": piece, "thought": True}])
                    for piece in cut(part["reasoning"], self.size)
                ]
            elif "tool" in part:
                call = {"functionCall": {"name": part["tool"], "args": json.loads(part["arguments"] or "{}")}}
                responses.append(self._response([{**call, **self._signature(part)}]))
        responses.append(self._response([{"text": ""}], finishReason=self.FINISH.get(self.stop, "STOP")))
        return [sse(response).replace(b"\n", b"\r\n") for response in responses]

    @staticmethod
    def _signature(part: Json) -> Json:
        return {"thoughtSignature": part["signature"]} if part.get("signature") else {}

    def error_frame(self, error: Json) -> bytes:
        return sse(self.error_body(error["code"], error["message"]))

    @classmethod
    def error_body(cls, status: int, message: str) -> Json:
        return {"error": {"code": status, "message": message, "status": cls.NAMES.get(status, "UNKNOWN")}}


class CohereWire(Wire):
    """Cohere's v2 chat."""

    fields = frozenset(
        {
            "model", "messages", "stream", "tools", "documents", "citation_options", "response_format",
            "safety_mode", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty",
            "presence_penalty", "k", "p", "logprobs", "tool_choice", "strict_tools", "thinking",
        }
    )  # fmt: skip
    FINISH: ClassVar[dict[str, str]] = {
        "max_tokens": "MAX_TOKENS", "tool_use": "TOOL_CALL", "stop_sequence": "STOP_SEQUENCE",
    }  # fmt: skip

    @classmethod
    def law(cls, seen: Seen) -> str:
        known = frozenset({"role", "content", "tool_calls", "tool_plan", "tool_call_id", "citations"})
        return "".join(unknown(message, known) for message in seen.body["messages"])

    @staticmethod
    def _event(kind: str, index: int | None = None, **delta: Any) -> bytes:
        event: Json = {"type": kind}
        if index is not None:
            event["index"] = index
        if delta:
            event["delta"] = delta
        return sse(event, kind)

    def _content(self, name: str, text: str, index: int) -> Iterator[bytes]:
        kind = "thinking" if name == "thinking" else "text"
        yield self._event("content-start", index, message={"content": {"type": kind, name: ""}})
        for piece in cut(text, self.size):
            yield self._event("content-delta", index, message={"content": {name: piece}})
        yield self._event("content-end", index)

    def _call(self, part: Json, index: int) -> Iterator[bytes]:
        function = {"name": part["tool"], "arguments": ""}
        call = {"id": part["id"], "type": "function", "function": function}
        yield self._event("tool-call-start", index, message={"tool_calls": call})
        for piece in cut(part["arguments"] or "{}", self.size):
            delta = {"tool_calls": {"function": {"arguments": piece}}}
            yield self._event("tool-call-delta", index, message=delta)
        yield self._event("tool-call-end", index)

    def frames(self) -> list[bytes]:
        empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        start = {"id": str(uuid.uuid4()), "type": "message-start", "delta": {"message": empty}}
        done = [sse(start, "message-start")]
        calls = 0
        for index, part in enumerate(self.parts):
            if "text" in part:
                done += self._content("text", part["text"], index)
            elif "reasoning" in part:
                done += self._content("thinking", part["reasoning"], index)
            elif "tool" in part:
                done += self._call(part, calls)
                calls += 1
        end: Json = {"finish_reason": self.FINISH.get(self.stop, "COMPLETE")}
        if self.usage is not None:
            tokens = {"input_tokens": self.usage["input"], "output_tokens": self.usage["output"]}
            end["usage"] = {"billed_units": tokens, "tokens": tokens}
        return [*done, self._event("message-end", **end)]

    def error_frame(self, error: Json) -> bytes:
        return self._event("message-end", finish_reason="ERROR", error=error["message"])

    @staticmethod
    def error_body(_status: int, message: str) -> Json:
        return {"id": str(uuid.uuid4()), "message": message}


class BedrockWire(Wire):
    """Bedrock's ConverseStream, in AWS's binary event stream."""

    content_type = "application/vnd.amazon.eventstream"
    fields = frozenset(
        {
            "messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields",
            "additionalModelResponseFieldPaths", "guardrailConfig", "promptVariables", "requestMetadata",
            "performanceConfig", "serviceTier", "outputConfig",
        }
    )  # fmt: skip

    @classmethod
    def law(cls, seen: Seen) -> str:
        if not seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential="):
            return "The security token included in the request is invalid"
        signed = seen.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        if missing := set(signed) - seen.headers.keys():
            return f"The request signature we calculated does not match: {missing} were signed and not sent"
        if (first := seen.body["messages"][0]["role"]) != "user":
            return f"A conversation must start with a user message, not {first}"
        return ""

    @staticmethod
    def _event(kind: str, payload: Json) -> bytes:
        headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
        return encode_message(headers, json.dumps(payload).encode())

    def _block(self, index: int, start: Json | None, deltas: list[Json]) -> Iterator[bytes]:
        if start is not None:
            yield self._event("contentBlockStart", {"contentBlockIndex": index, "start": start})
        for delta in deltas:
            yield self._event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        yield self._event("contentBlockStop", {"contentBlockIndex": index})

    def frames(self) -> list[bytes]:
        done = [self._event("messageStart", {"role": "assistant"})]
        for index, part in enumerate(self.parts):
            if "text" in part:
                done += self._block(index, None, [{"text": piece} for piece in cut(part["text"], self.size)])
            elif "reasoning" in part:
                thoughts = [{"reasoningContent": {"text": p}} for p in cut(part["reasoning"], self.size)]
                signed = {"reasoningContent": {"signature": part["signature"]}}
                done += self._block(index, None, [*thoughts, signed])
            elif "tool" in part:
                start = {"toolUse": {"toolUseId": part["id"], "name": part["tool"]}}
                pieces = cut(part["arguments"] or "{}", self.size)
                done += self._block(index, start, [{"toolUse": {"input": piece}} for piece in pieces])
        done.append(self._event("messageStop", {"stopReason": self.stop}))
        if self.usage is not None:
            tokens = {"inputTokens": self.usage["input"], "outputTokens": self.usage["output"]}
            tokens["totalTokens"] = self.usage["input"] + self.usage["output"]
            done.append(self._event("metadata", {"usage": tokens, "metrics": {"latencyMs": 12}}))
        return done

    def error_frame(self, error: Json) -> bytes:
        headers = {
            ":exception-type": "modelStreamErrorException", ":content-type": "application/json",
            ":message-type": "exception",
        }  # fmt: skip
        return encode_message(headers, json.dumps({"message": error["message"]}).encode())

    @staticmethod
    def error_body(_status: int, message: str) -> Json:
        return {"message": message}


WIRES: dict[str, type[Wire]] = {
    "anthropic": AnthropicWire,
    "openai": OpenAIWire,
    "gemini": GeminiWire,
    "cohere": CohereWire,
    "mistral": MistralWire,
    "azure": AzureWire,
    "bedrock": BedrockWire,
}
