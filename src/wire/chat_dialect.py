"""A chat request in OpenRouter's dialect, fitted to what another chat backend takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.chat_parts import NO_CONTENT
from wire.chat_reasoning import effort_asked
from wire.check_tools import is_custom
from wire.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.dialects import Dialect
    from wire.messages import Json

_NOT_HERE = "cannot be had from this backend"
_LEAST_BUDGET = 1024
_EFFORTS = {"xhigh": "high", "max": "high"}
_EFFORT_FROM = ((16_384, "high"), (4_096, "medium"))


def refuse_unfit(body: Json, dialect: Dialect) -> None:
    """Refuse, with its path, what the client must have and a backend of this dialect cannot give."""
    if not dialect.web_search:
        for place, tool in enumerate(body.get("tools") or ()):
            if not is_custom(tool) and tool["type"].startswith("web_search_"):
                raise UnsupportedContent(f"tools.{place}: web search {_NOT_HERE}")
    if "plugins" not in dialect.takes and body.get("plugins"):
        raise UnsupportedContent(f"plugins: OpenRouter's plugins {_NOT_HERE}")
    if len(dialect.files) < 2:
        for kind, at in _files(body):
            if kind not in dialect.files:
                raise UnsupportedContent(f"{at}: a document as {_FILE_WORDS[kind]} {_NOT_HERE}")


def fit(chat: Json, body: Json, dialect: Dialect) -> None:
    """Change `chat`, the request made from `body`, into one in `dialect`."""
    _fit_messages(chat, dialect)
    _fit_reasoning(chat, body, dialect)
    _fit_format(chat, body, dialect)
    if dialect.limit_field != "max_tokens" and "max_tokens" in chat:
        chat[dialect.limit_field] = chat.pop("max_tokens")
    for field in chat.keys() - dialect.takes:
        del chat[field]


def effort_of(reasoning: Json) -> str | None:
    """Give the effort for OpenRouter's `reasoning` object; None says nothing.

    A number of tokens becomes the effort that spends about as many. Not to reason at all has no word that
    every server knows, so it is left out.
    """
    effort = reasoning.get("effort")
    if isinstance(effort, str):
        return None if effort == "none" else _EFFORTS.get(effort, effort)
    budget = reasoning.get("max_tokens")
    if isinstance(budget, int):
        return next((name for least, name in _EFFORT_FROM if budget >= least), "low")
    return None


# ---- messages ----


def _fit_messages(chat: Json, dialect: Dialect) -> None:
    """Fit the messages and tools. Requests share them (`wire.interning`): none is changed in place."""
    messages = chat["messages"]
    if dialect.earlier != "reasoning_details":
        messages = [_fit_earlier(one, dialect) if "reasoning_details" in one else one for one in messages]
    if not dialect.cache_control:
        messages = [_unmarked(one) for one in messages]
        if "tools" in chat:
            chat["tools"] = [_without_mark(tool) for tool in chat["tools"]]
    if not dialect.system_anywhere:
        messages = _system_first(messages)
    if not dialect.parallel_results:
        messages = list(_serial(messages))
    chat["messages"] = messages


def _fit_earlier(message: Json, dialect: Dialect) -> Json:
    """Put earlier thinking where the backend wants it; nothing is left of a message that was only that."""
    fitted = {name: value for name, value in message.items() if name != "reasoning_details"}
    if dialect.earlier == "parts":
        summaries = [
            {"type": "summary_text", "text": one["text"], "signature": one["signature"]}
            for one in message["reasoning_details"]
            if one.get("text") and one.get("signature")
        ]
        if summaries:
            thinking = {"type": "reasoning", "summary": summaries}
            return {**fitted, "content": [thinking, *_as_parts(message["content"] or [])]}
    if message["content"] == "":
        fitted["content"] = NO_CONTENT
    return fitted


def _unmarked(message: Json) -> Json:
    """Take cache breakpoints away, and with them the only reason for some text to be in parts."""
    parts = message["content"]
    if not isinstance(parts, list):
        return message
    if all(part["type"] == "text" for part in parts):
        # An assistant's pieces carry the space between them; others stand apart.
        gap = "" if message["role"] == "assistant" else "\n\n"
        return {**message, "content": gap.join(part["text"] for part in parts)}
    return {**message, "content": [_without_mark(part) for part in parts]}


def without_marks(chat: Json) -> None:
    """Take the cache breakpoints out of an OpenAI client's request; parts stay parts, nothing is shared."""
    chat.pop("cache_control", None)
    chat["messages"] = [_with_unmarked_parts(message) for message in chat["messages"]]
    if chat.get("tools"):
        chat["tools"] = [_without_mark(tool) for tool in chat["tools"]]


def _with_unmarked_parts(message: Json) -> Json:
    parts = message.get("content")
    if not isinstance(parts, list) or not any("cache_control" in part for part in parts):
        return message
    return {**message, "content": [_without_mark(part) for part in parts]}


def _without_mark(part: Json) -> Json:
    if "cache_control" not in part:
        return part
    return {name: value for name, value in part.items() if name != "cache_control"}


def _system_first(messages: list[Json]) -> list[Json]:
    """Tell system messages after the first as a user's, joined to the user's message beside them."""
    fitted: list[Json] = []
    for message in messages:
        role = message["role"]
        if role == "system" and fitted and fitted[-1]["role"] == "system":
            fitted[-1] = _joined(fitted[-1], message)
            continue
        if role == "system" and fitted:
            message = {"role": "user", "content": _marked_system(message["content"])}  # noqa: PLW2901
        if message["role"] == "user" and fitted and fitted[-1]["role"] == "user":
            fitted[-1] = _joined(fitted[-1], message)
        else:
            fitted.append(message)
    return fitted


def _marked_system(content: str | list[Json]) -> str | list[Json]:
    if isinstance(content, str):
        return f"<system>\n{content}\n</system>"
    opening, closing = ({"type": "text", "text": tag} for tag in ("<system>", "</system>"))
    return [opening, *content, closing]


def _joined(first: Json, second: Json) -> Json:
    one, two = first["content"], second["content"]
    if isinstance(one, str) and isinstance(two, str):
        return {**first, "content": f"{one}\n\n{two}"}
    return {**first, "content": [*_as_parts(one), *_as_parts(two)]}


def _as_parts(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _serial(messages: list[Json]) -> Iterator[Json]:
    """Give each of several calls a message of its own, directly before its result.

    Every call has its result among the messages that follow at once: `wire.chat_turns` sees to that.
    """
    waiting: dict[str, Json] = {}
    for message in messages:
        calls = message.get("tool_calls") or ()
        if len(calls) > 1:
            waiting = {call["id"]: call for call in calls[1:]}
            yield {**message, "tool_calls": calls[:1]}
            continue
        if message["role"] == "tool" and (call := waiting.pop(message["tool_call_id"], None)) is not None:
            yield {"role": "assistant", "content": None, "tool_calls": [call]}
        yield message


# ---- reasoning and format ----


def _fit_reasoning(chat: Json, body: Json, dialect: Dialect) -> None:
    if dialect.reasoning == "reasoning":
        return
    reasoning = chat.pop("reasoning", None)
    if not isinstance(reasoning, dict):
        reasoning = {}
    if dialect.reasoning == "reasoning_effort":
        effort = effort_of(reasoning)
        if effort is not None:
            chat.setdefault("reasoning_effort", effort)
        return
    effort = chat.pop("reasoning_effort", None) or reasoning.get("effort") or effort_asked(body)
    if isinstance(effort, str):
        chat["output_config"] = {"effort": effort}
    thinking = _thinking(body, reasoning)
    if thinking is not None and (fitted := _within_limit(thinking, chat.get("max_tokens"))) is not None:
        chat["thinking"] = fitted


def _thinking(body: Json, reasoning: Json) -> Json | None:
    if isinstance(body.get("reasoning"), dict):
        budget = reasoning.get("max_tokens")
        return {"type": "enabled", "budget_tokens": budget} if isinstance(budget, int) else None
    thinking = body.get("thinking")
    return thinking if isinstance(thinking, dict) and thinking["type"] != "disabled" else None


def _within_limit(thinking: Json, limit: int | None) -> Json | None:
    """Keep a budget below `max_tokens`, which is to be the greater; None if too little would be left."""
    budget = thinking.get("budget_tokens")
    if budget is None or limit is None or budget < limit:
        return thinking
    return {**thinking, "budget_tokens": limit - 1} if limit > _LEAST_BUDGET else None


def _fit_format(chat: Json, body: Json, dialect: Dialect) -> None:
    """Put a wanted schema where the backend looks for it; what is no schema cannot go there."""
    told = chat.get("response_format")
    if dialect.answer_format == "response_format" or told is None:
        return
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if not wanted:
        inner = told.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, dict) else None
        if told.get("type") == "text":
            return
        if not isinstance(schema, dict):
            raise UnsupportedContent(f"response_format: what is no JSON schema {_NOT_HERE}")
        wanted = {"type": "json_schema", "schema": schema}
    chat["output_config"] = {**chat.get("output_config", {}), "format": wanted}


# ---- files ----


def _files(body: Json) -> Iterator[tuple[str, str]]:
    """Give every document that goes as a file: whether its bytes or its address are there, and its path."""
    for place, message in enumerate(body["messages"]):
        yield from _files_in(message.get("content"), f"messages.{place}.content")


def _files_in(content: object, at: str) -> Iterator[tuple[str, str]]:
    for place, block in enumerate(content if isinstance(content, list) else ()):
        where = f"{at}.{place}"
        if block["type"] == "tool_result":
            yield from _files_in(block.get("content"), f"{where}.content")
        elif block["type"] == "document" and (kind := _SOURCES.get(block["source"]["type"])):
            yield kind, f"{where}.source"


_SOURCES = {"base64": "data", "url": "url"}
_FILE_WORDS = {"data": "a file", "url": "the address of a file"}
