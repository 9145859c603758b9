"""What the real upstreams refuse, so that the fake refuses it too.

Each law is a 400 of OpenRouter or of a provider behind it; a gateway that breaks one works against a
lenient fake and fails against the real thing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.replies import Json

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
HEADGATES_MARK = "hgA1"
MUST_REASON = ("google/gemini-3-pro", "minimax/", "openai/gpt-5", "openai/gpt-oss")
CHAT_ROLES = {"system", "developer", "user", "assistant", "tool"}
CHAT_PARTS = {"text", "image_url", "file", "input_audio", "video_url"}


def chat_complaint(body: Any) -> str:
    """Say what a chat/completions body does wrong; empty if nothing."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        return "messages: a non-empty array is required"
    if "/" not in str(body.get("model", "")):
        return f"{body.get('model')} is not a valid model ID"
    return _tools_complaint(body) or _messages_complaint(body["messages"]) or _reasoning_complaint(body)


def _reasoning_complaint(body: Json) -> str:
    if body["model"].startswith(MUST_REASON) and (body.get("reasoning") or {}).get("enabled") is False:
        return "Reasoning is mandatory for this endpoint and cannot be disabled."
    return ""


def _tools_complaint(body: Json) -> str:
    if "tools" in body and not body["tools"]:
        return "tools: must not be empty"
    if "tool_choice" in body and not body.get("tools"):
        return "tool_choice: only with tools"
    names = []
    for tool in body.get("tools", []):
        if tool.get("type") != "function":
            return f"tools: unknown type {tool.get('type')!r}"
        if tool["function"].get("parameters", {}).get("type") != "object":
            return f"tools: {tool['function'].get('name')}: parameters must be an object schema"
        names.append(tool["function"].get("name", ""))
    bad = [name for name in names if not TOOL_NAME.fullmatch(name)]
    if bad or len(set(names)) != len(names):
        return f"tools: bad or repeated names {bad or names}"
    return ""


def _messages_complaint(messages: list[Json]) -> str:
    waiting: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role")
        if role not in CHAT_ROLES:
            return f"{where}: unknown role {role!r}"
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                return f"{where}: tool message without a call directly before it"
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return f"{where}: tool calls {waiting} have no answer"
        complaint = _content_complaint(message)
        if complaint:
            return f"{where}: {complaint}"
        calls = message.get("tool_calls") or []
        waiting = [call["id"] for call in calls] if role == "assistant" else waiting
        if len(set(waiting)) != len(waiting) or not all(waiting):
            return f"{where}: tool call ids must be there and differ"
        for call in calls:
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                return f"{where}: arguments must be a JSON object"
    return f"tool calls {waiting} have no answer" if waiting else ""


def _content_complaint(message: Json) -> str:
    content = message.get("content")
    if content is None:
        return "" if message["role"] == "assistant" and message.get("tool_calls") else "content is required"
    if isinstance(content, str):
        return ""
    if not isinstance(content, list) or not content:
        return "content must be text or a non-empty array"
    for part in content:
        if part.get("type") not in CHAT_PARTS:
            return f"unknown content part {part.get('type')!r}"
        if part["type"] == "text" and not part["text"]:
            return "text content blocks must be non-empty"
        if part["type"] != "text" and message["role"] not in ("user", "tool"):
            return f"{part['type']} parts belong to user messages"
    return ""


def messages_complaint(body: Any) -> str:
    """Say what a /messages body does wrong; empty if nothing."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        return "messages: at least one message is required"
    if not isinstance(body.get("max_tokens"), int):
        return "max_tokens: Field required"
    waiting: set[str] = set()
    for index, message in enumerate(body["messages"]):
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        results = {block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"}
        if message.get("role") == "user":
            if results - waiting:
                return f"messages.{index}: `tool_result` without a `tool_use` in the previous message"
            if waiting - results:
                return f"messages.{index}: `tool_use` ids were found without `tool_result` blocks"
        if message.get("role") != "system":
            waiting = {block["id"] for block in blocks if block.get("type") == "tool_use"}
        forged = [n for n, block in enumerate(blocks) if _is_headgates(block)]
        if forged:
            return f"messages.{index}.content.{forged[0]}: Invalid `signature` in `thinking` block"
        empty = [block for block in blocks if block.get("type") == "text" and not block.get("text")]
        if empty:
            return f"messages.{index}: text content blocks must be non-empty"
    return _thinking_complaint(body)


def _is_headgates(block: Json) -> bool:
    """Tell a block whose signature, or encrypted data, Headgate made: Anthropic checks its own."""
    sealed = block.get("signature" if block.get("type") == "thinking" else "data")
    thoughts = ("thinking", "redacted_thinking")
    return block.get("type") in thoughts and str(sealed).startswith(HEADGATES_MARK)


def _thinking_complaint(body: Json) -> str:
    """Say what Anthropic refuses of a request that thinks within a budget; `adaptive` may begin anywhere."""
    if (body.get("thinking") or {}).get("type") != "enabled":
        return ""
    said = [(n, one["content"]) for n, one in enumerate(body["messages"]) if one["role"] == "assistant"]
    if not said or not isinstance(said[-1][1], list):
        return ""
    index, blocks = said[-1]
    kinds = [block["type"] for block in blocks]
    if "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
        return (
            f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found"
            f" `{kinds[0]}`. When `thinking` is enabled, a final `assistant` message must start with a"
            " thinking block"
        )
    return ""
