"""An OpenAI client's request on a chat backend's wire: as it came, but for what the gateway has to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.breakpoints import has_breakpoints, with_chat_breakpoints
from wire.chat_dialect import effort_of, without_marks
from wire.chat_reasoning import reasoning_of

if TYPE_CHECKING:
    from wire.dialects import Dialect
    from wire.messages import Json

_SAID_OTHERWISE = frozenset(
    {
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
"""Fields that mean another thing in a Messages request, or are written otherwise."""


def goes_as_it_came(dialect: Dialect) -> bool:
    """Tell whether a request in OpenAI's own form can go out: not to an endpoint with a form of its own."""
    return "model" in dialect.takes


def to_openai_chat(client: Json, before: Json, after: Json, *, model: str, dialect: Dialect) -> Json:
    """Give the client's body with `model`, with usage asked for, and with what the gateway changed.

    `before` is the client's request as a Messages request, `after` the same with the gateway's parameters.
    Fields nobody here knows pass. `client` stays as it is. Cache breakpoints stay where they are, if the
    backend knows them; those that `after` has and `before` has not are the gateway's.
    """
    chat = {**client, "model": model}
    if not dialect.cache_control:
        without_marks(chat)
    elif after is not before and has_breakpoints(after) and not has_breakpoints(before):
        chat = with_chat_breakpoints(chat)
    for field in before.keys() - after.keys() - _SAID_OTHERWISE:
        chat.pop(field, None)
    given = (after.keys() & dialect.takes) - _SAID_OTHERWISE
    chat |= {field: after[field] for field in given if _is_new(field, before, after)}
    if _is_new("metadata", before, after) and "user" in dialect.takes:
        chat["user"] = after["metadata"]["user_id"]
    if _is_new("thinking", before, after) or _is_new("output_config", before, after):
        _set_reasoning(chat, after, dialect)
    if dialect.limit_field not in chat and (limit := chat.pop("max_tokens", None)) is not None:
        chat[dialect.limit_field] = limit
    if chat.get("stream") and "stream_options" in dialect.takes:
        chat["stream_options"] = {**(chat.get("stream_options") or {}), "include_usage": True}
    if "usage" in dialect.takes:
        chat["usage"] = {"include": True}
    return chat


def _is_new(field: str, before: Json, after: Json) -> bool:
    return field in after and after[field] != before.get(field)


def _set_reasoning(chat: Json, after: Json, dialect: Dialect) -> None:
    reasoning = reasoning_of(after)
    if reasoning is None:
        return
    chat.pop("reasoning", None)
    chat.pop("reasoning_effort", None)
    if dialect.reasoning == "reasoning":
        chat["reasoning"] = reasoning
    elif (effort := effort_of(reasoning)) is not None:
        chat["reasoning_effort"] = effort


def choices_of(chunk: Json) -> list[Json]:
    """Give the choices of a chat answer, or of a chunk of one."""
    choices = chunk.get("choices")
    return [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []


def error_in(chunk: Json) -> Json | None:
    """Give the error inside a chat answer or chunk: at its top, in a choice, or only said to be one."""
    choices = choices_of(chunk)
    errors = [chunk.get("error"), *(choice.get("error") for choice in choices)]
    if any(choice.get("finish_reason") == "error" for choice in choices):
        errors.append("the upstream ended the answer with an error")
    error = next(filter(None, errors), None)
    return error if error is None or isinstance(error, dict) else {"message": str(error)}
