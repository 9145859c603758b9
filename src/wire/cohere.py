"""Cohere's v2 chat, where LiteLLM falls short of it.

LiteLLM writes Cohere's requests, but without `tool_choice` and `k`; and its reader of Cohere's streams stops
at their `event:` lines, and knows neither tool calls nor thinking in them. So these are done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.errors import UnsupportedContent
from wire.tool_calls import text_of

if TYPE_CHECKING:
    from wire.messages import Json

_FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}


def cohere_extras(arguments: Json) -> Json:
    """Give the fields of a request that LiteLLM forgets; raises UnsupportedContent."""
    extras: Json = {"k": arguments["k"]} if "k" in arguments else {}
    choice = arguments.get("tool_choice")
    if choice in (None, "auto"):
        return extras
    if choice in ("required", "none"):
        return {**extras, "tool_choice": str(choice).upper()}
    raise UnsupportedContent("tool_choice: Cohere cannot be told which tool to use")


def cohere_chunk(event: Json) -> Json | None:
    """Give the chat chunk for one event of Cohere's; None for those that say nothing."""
    delta = _object(event.get("delta"))
    message = _object(delta.get("message"))
    match event.get("type"):
        case "message-start":
            return {"id": event.get("id"), "choices": []}
        case "content-start" | "content-delta":
            return _content(_object(message.get("content")))
        case "tool-plan-delta":
            return _choice({"reasoning": text_of(message.get("tool_plan"))})
        case "tool-call-start" | "tool-call-delta":
            return _choice({"tool_calls": [_call(event, _object(message.get("tool_calls")))]})
        case "citation-start":
            return {**_choice({}), "citations": message.get("citations")}
        case "message-end":
            return _end(delta)
        case _:
            return None


def _content(content: Json) -> Json:
    delta: Json = {}
    if text := text_of(content.get("text")):
        delta["content"] = text
    if thinking := text_of(content.get("thinking")):
        delta["reasoning"] = thinking
    return _choice(delta)


def _call(event: Json, call: Json) -> Json:
    told: Json = {"index": event.get("index"), "function": _object(call.get("function"))}
    if call.get("id"):
        told |= {"id": call["id"], "type": "function"}
    return told


def _end(delta: Json) -> Json:
    reason = text_of(delta.get("finish_reason"))
    if reason in {"ERROR", "ERROR_TOXIC", "TIMEOUT"} or delta.get("error"):
        said = text_of(delta.get("error")) or f"the answer ended with {reason}"
        return {"error": {"code": 504 if reason == "TIMEOUT" else 502, "message": said}}
    chunk = _choice({})
    choice = chunk["choices"][0]
    choice["finish_reason"] = _FINISH.get(reason, "stop")
    if reason == "STOP_SEQUENCE":
        choice["native_finish_reason"] = "stop_sequence"
    told = _object(delta.get("usage"))
    if usage := _object(told.get("tokens")):
        prompt, completion = (int(usage.get(f"{name}_tokens") or 0) for name in ("input", "output"))
        chunk["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        if told.get("cached_tokens"):
            chunk["usage"]["prompt_tokens_details"] = {"cached_tokens": int(told["cached_tokens"])}
    return chunk


def _choice(delta: Json) -> Json:
    return {"choices": [{"index": 0, "delta": delta}]}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
