"""What Databricks, Anthropic and OpenAI-compatible servers refuse, so that their fake refuses it too.

Databricks' laws are those its users met: a tool message must directly follow the message with its call, text
beside calls must not be empty, a budget must be below `max_tokens`, and fields it does not know are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.laws import chat_complaint, messages_complaint

if TYPE_CHECKING:
    from tests.fakes.replies import Json

CLAUDE = ("thinking", "output_config")
DATABRICKS_FIELDS = {
    "max_tokens",
    "messages",
    "reasoning_effort",
    "response_format",
    "stop",
    "stream",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    *CLAUDE,
}
COMPATIBLE_PARTS = {"text", "image_url"}
ANTHROPIC_ONLY = ("provider", "plugins", "reasoning", "usage", "models")


def refused_key(where: str, headers: dict[str, str]) -> int:
    """Give the status that a request without a good key gets; 0 if the key is good."""
    match where:
        case "databricks":
            return 0 if headers.get("authorization", "").startswith("Bearer dapi") else 403
        case "anthropic":
            good = headers.get("x-api-key", "").startswith("sk-ant-") and "anthropic-version" in headers
            return 0 if good else 401
        case _:
            return 0


def complaint_of(path: str, body: Any) -> str:
    """Say what a body does wrong on that backend's wire; empty if nothing."""
    match path:
        case "databricks messages":
            return messages_complaint(body) or _not_claude(body) or _budget(body)
        case "databricks chat":
            return _databricks_complaint(body)
        case "anthropic messages":
            known = [field for field in ANTHROPIC_ONLY if field in body]
            return messages_complaint(body) or (
                f"{known[0]}: Extra inputs are not permitted" if known else ""
            )
        case _:
            return chat_complaint({**body, "model": f"any/{body.get('model')}"}) or _plain_complaint(body)


def _not_claude(body: Json) -> str:
    model = str(body.get("model"))
    return "" if model.startswith("databricks-claude-") else f"{model} does not exist"


def _budget(body: Json) -> str:
    budget = (body.get("thinking") or {}).get("budget_tokens", 0)
    return (
        "`max_tokens` must be greater than `thinking.budget_tokens`" if budget >= body["max_tokens"] else ""
    )


def _databricks_complaint(body: Json) -> str:
    unknown = sorted(body.keys() - DATABRICKS_FIELDS)
    if unknown:
        return f"{unknown[0]}: Extra inputs are not permitted"
    claude = any(field in body for field in CLAUDE)
    parts = [part for message in body["messages"] for part in _parts(message)]
    reasoning = [part for part in parts if part.get("type") == "reasoning"]
    plain = {**body, "model": "any/model", "messages": [_without_reasoning(one) for one in body["messages"]]}
    if "response_format" in body and claude:
        return "response_format: use output_config.format"
    if any(not one["signature"] for part in reasoning for one in part["summary"]):
        return "messages: reasoning without a signature"
    return chat_complaint(plain) or _adjacency(body["messages"]) or (_budget(body) if claude else "")


def _parts(message: Json) -> list[Json]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _without_reasoning(message: Json) -> Json:
    parts = _parts(message)
    if not parts:
        return message
    return {**message, "content": [part for part in parts if part.get("type") != "reasoning"] or None}


def _adjacency(messages: list[Json]) -> str:
    for before, message in zip([{}, *messages], messages, strict=False):
        if "reasoning_details" in message:
            return "messages: reasoning_details: Extra inputs are not permitted"
        if message["role"] == "tool" and not before.get("tool_calls"):
            return "a tool message must directly follow the message with its call"
        if message.get("tool_calls") and message.get("content") == "":
            return "messages: text content blocks must be non-empty"
    return ""


def _plain_complaint(body: Json) -> str:
    """Say what the strictest of OpenAI-compatible servers' chat templates refuse."""
    roles = [message["role"] for message in body["messages"]]
    if "system" in roles[1:]:
        return "System message must be at the beginning."
    for message in body["messages"]:
        for part in _parts(message):
            if part["type"] not in COMPATIBLE_PARTS or "cache_control" in part:
                return f"unknown content part {part}"
    return ""
