"""An Anthropic Messages request as a chat/completions request: in OpenRouter's dialect, fitted to others."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from wire.breakpoints import BREAKPOINTS, has_breakpoints
from wire.chat_dialect import fit, refuse_unfit
from wire.chat_parts import marked
from wire.chat_reasoning import reasoning_of
from wire.chat_tools import (
    chat_tool_choice,
    chat_tools,
    names_loaded,
    names_used,
    refuse_a_choice_of_nothing,
    web_plugin,
)
from wire.chat_turns import chat_messages
from wire.dialects import OPENROUTER, OWN
from wire.errors import UnsupportedContent
from wire.names import NO_NAMES, ToolNames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.dialects import Dialect
    from wire.messages import Json

FATES = {
    "model": "the resolved model's name",
    "max_tokens": "max_tokens",
    "messages": "messages",
    "system": "the first message",
    "stream": "stream, with usage asked for",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
    "metadata": "user_id → user, hashed when it is longer than 64 characters",
    "service_tier": "service_tier: auto → auto, standard_only → default",
    "thinking": "reasoning",
    "output_config": "effort → reasoning, format → response_format; task_budget left out",
    "output_format": "response_format",
    "tools": "tools; web_search_* → the web plugin; other tools of Anthropic's refused",
    "tool_choice": "tool_choice and parallel_tool_calls",
    "cache_control": "cache_control, or where there is none a breakpoint on the last part",
    "reasoning": "reasoning, instead of what thinking says",
    "plugins": "plugins, beside the web plugin",
    "context_management": "left out: it edits a context that Anthropic's servers keep",
    "safeguards": "left out: nobody else can judge, and a verdict is never forged",
    "diagnostics": "left out: it asks about Anthropic's cache",
    "speed": "left out: a wish for more haste",
    "container": "left out: it means something to code execution only, which is refused",
    "fallbacks": "left out: Anthropic's own models, which the backend does not have",
    "fallback_credit_token": "left out: Anthropic's billing",
    "user_profile_id": "left out: Anthropic's accounts",
    "workspace_id": "left out: Anthropic's accounts",
    "mcp_servers": "refused when there are any: the backend would not call them",
    "inference_geo": "refused: a place is a promise, and nobody here can keep it",
    "billing_policy": "refused when another than oneself is to pay",
    "compaction": "refused: it asks for a block only Anthropic can make",
    "thread": "refused: the conversation would be on Anthropic's servers",
}
"""What becomes of each field of a request on a chat wire. OWN ones go as they are, if the backend's dialect
takes them; fields nobody here knows are tolerated and left out."""


def to_chat(body: Json, *, model: str, dialect: Dialect = OPENROUTER) -> tuple[Json, ToolNames]:
    """Render a checked request as a chat body for `model`, a name already resolved, in `dialect`.

    The body is new and `body` stays as it is, but parts of it may be shared. The names lead back from the
    backend's tool names to the client's. What has no form on a chat wire is UnsupportedContent with its path.
    """
    _refuse(body)
    refuse_unfit(body, dialect)
    used = names_used(body)
    names = ToolNames.of(used) if used else NO_NAMES
    in_parts = dialect.cache_control and has_breakpoints(body)
    chat: Json = {"model": model, "messages": chat_messages(body, names, model, in_parts=in_parts)}
    for field, value in body.items():
        if field in _RENAMED and value not in _NOTHING:
            chat[_RENAMED[field]] = value
    if not OWN.isdisjoint(body):
        chat |= {field: value for field, value in body.items() if field in OWN}
    _add_tools(chat, body, names)
    _add_reasoning(chat, body)
    _add_format(chat, body)
    _add_rest(chat, body)
    if in_parts:
        _place_automatic(chat, dialect)
        _limit_breakpoints(chat)
    if dialect is not OPENROUTER:
        fit(chat, body, dialect)
    return chat, names


def _refuse(body: Json) -> None:
    """Refuse the fields that change what an answer means and that a chat backend cannot honour."""
    if _REFUSED.isdisjoint(body):
        return
    for field in ("mcp_servers", "inference_geo", "compaction", "thread"):
        if body.get(field):
            raise UnsupportedContent(f"{field}: has no form on a chat backend's wire")
    policy = body.get("billing_policy")
    if isinstance(policy, dict) and policy.get("bill_to", "self") != "self":
        raise UnsupportedContent("billing_policy.bill_to: a chat backend bills the gateway's own account")


def _add_tools(chat: Json, body: Json, names: ToolNames) -> None:
    """Add tools, the choice among them, and plugins."""
    tools = body.get("tools") or []
    plugins = body.get("plugins")
    choice = body.get("tool_choice") or {}
    plugin = web_plugin(tools, choice)
    if plugin:
        plugins = [*(plugins or ()), plugin]
    if plugins:
        chat["plugins"] = plugins
    functions = chat_tools(tools, names_loaded(body), names) if tools else []
    if not functions:
        if not plugin:
            refuse_a_choice_of_nothing(choice)
        return
    chat["tools"] = functions
    if choice:
        rendered = chat_tool_choice(choice, functions, names)
        if rendered is not None:
            chat["tool_choice"] = rendered
        if choice.get("disable_parallel_tool_use"):
            chat["parallel_tool_calls"] = False


def _add_reasoning(chat: Json, body: Json) -> None:
    """Add `reasoning`: the client's own in OpenRouter's form, or what `thinking` and the effort come to."""
    reasoning = body["reasoning"] if body.get("reasoning") is not None else reasoning_of(body)
    if reasoning is not None and "reasoning_effort" not in chat:
        chat["reasoning"] = reasoning


def _add_format(chat: Json, body: Json) -> None:
    """Add `response_format` for `output_config.format`, or for the place where it was in its beta."""
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if not wanted:
        if isinstance(body.get("response_format"), dict):
            chat["response_format"] = body["response_format"]
        return
    if wanted["type"] != "json_schema":
        raise UnsupportedContent(f"output_config.format.type: {wanted['type'][:40]!r} has no chat form")
    schema = wanted["schema"]
    title = schema.get("title")
    name = _odd("_", title)[:64] if isinstance(title, str) else ""
    chat["response_format"] = {
        "type": "json_schema",
        "json_schema": {
            "name": name or "answer",
            "strict": schema.get("type") == "object" and is_strict(schema),
            "schema": schema,
        },
    }


def is_strict(schema: Any, depth: int = 0) -> bool:
    """Tell whether every object in `schema` is closed and requires all it has.

    Backends that hold a model to a schema refuse any other one with `strict`; without, they do their best.
    """
    if depth > 100:
        return False
    if isinstance(schema, list):
        return all(is_strict(one, depth + 1) for one in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        required = schema.get("required")
        named = set(properties) if isinstance(properties, dict) else set()
        if schema.get("additionalProperties") is not False:
            return False
        if named != set(required if isinstance(required, list) else ()):
            return False
    return all(is_strict(one, depth + 1) for one in schema.values())


def _add_rest(chat: Json, body: Json) -> None:
    """Add what concerns the request as a whole."""
    chat["usage"] = {"include": True}
    if body.get("stream"):
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    user = (body.get("metadata") or {}).get("user_id")
    if user:
        chat["user"] = user if len(user) <= 64 else hashlib.sha256(user.encode()).hexdigest()
    tier = body.get("service_tier")
    if tier:
        chat["service_tier"] = _TIERS.get(tier, tier)
    marked(chat, body)


def _place_automatic(chat: Json, dialect: Dialect) -> None:
    """Put the body's own breakpoint on its last part, where the backend knows breakpoints on parts only."""
    if "cache_control" in dialect.takes or (mark := chat.pop("cache_control", None)) is None:
        return
    messages = chat["messages"]
    for place in range(len(messages) - 1, -1, -1):
        content = messages[place]["content"]
        if isinstance(content, list) and content:
            # copied: messages of an earlier turn are shared
            last = {"cache_control": mark} | content[-1]
            messages[place] = {**messages[place], "content": [*content[:-1], last]}
            return


def _limit_breakpoints(chat: Json) -> None:
    """Take away all cache breakpoints but the last few; one at the top of the body counts."""
    found = [part for part in _parts(chat) if "cache_control" in part]
    for part in found[: max(0, len(found) - BREAKPOINTS + ("cache_control" in chat))]:
        del part["cache_control"]


def _parts(chat: Json) -> Iterator[Json]:
    """Give what may carry a breakpoint, in the order in which a backend reads it."""
    yield from chat.get("tools", ())
    for message in chat["messages"]:
        if isinstance(message["content"], list):
            yield from message["content"]


_RENAMED = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
}
_REFUSED = frozenset({"billing_policy", "compaction", "inference_geo", "mcp_servers", "thread"})
_NOTHING: tuple[Any, ...] = (None, [])
_TIERS = {"standard_only": "default"}
_odd = re.compile(r"[^a-zA-Z0-9_-]").sub
