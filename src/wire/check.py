"""Validation of a Messages request: everything wrong with it is said at once, with the path of the field.

It is done once, at the edge; whatever reads the request later relies on it. Unknown fields pass, here and
everywhere: the API is an open list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from wire.body import encode_body, parse_body
from wire.check_blocks import (
    a_list,
    a_string,
    an_object,
    check_block,
    check_cache_control,
    check_content,
    wrong,
)
from wire.check_tools import check_any_schema, check_tool_choice, check_tools
from wire.errors import InvalidRequest
from wire.interning import Facts, SharedMessage
from wire.known import ROLES, TEXT_BLOCKS
from wire.parameters import check_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire.messages import Json

__all__ = ["check_own_fields", "check_request", "encode_body", "parse_body"]

_MOST_MESSAGES = 100_000
_TEXT_OF = {role: Facts(role, (), (), ()) for role in ROLES}
_HOLDERS = frozenset({dict, list})
_LARGE = frozenset({"messages", "system", "tools"})
"""What goes upstream on every wire, so that it is found there if it is nested too deeply."""


def check_request(body: Json, *, need_max_tokens: bool = True) -> None:
    """Check the body of `POST /v1/messages`, or with `need_max_tokens=False` of its `count_tokens`.

    Raises InvalidRequest whose message begins with the path of what is wrong. Never changes `body`.
    """
    if not _FORBIDDEN.isdisjoint(body):
        field = min(_FORBIDDEN & body.keys())
        raise InvalidRequest(f"{field}: where requests go is for the gateway's settings to say")
    if not a_string(body.get("model"), "model"):
        raise InvalidRequest("model: must not be empty")
    if need_max_tokens or body.get("max_tokens") is not None:
        _check_max_tokens(body.get("max_tokens"))
    for field, value in body.items():
        if value is not None and (check := _OPTIONAL.get(field)) is not None:
            check(value)
        if type(value) in _HOLDERS and field not in _LARGE:
            _check_depth(value, field)
    check_parameters(body)
    if body.get("tool_choice") is not None:
        check_tool_choice(body["tool_choice"], body.get("tools") or [])
    _check_messages(body.get("messages"))


def check_own_fields(body: Json) -> None:
    """Check the fields that only Anthropic's API has, in the body of a client that speaks another one."""
    for field in _OWN:
        if body.get(field) is not None:
            _OPTIONAL[field](body[field])


def _check_depth(value: Any, field: str) -> None:
    """Refuse what cannot be written, also where the backend's wire has no place for the field."""
    encode_body({field: value})


def _check_max_tokens(value: Any) -> None:
    if type(value) is not int:
        raise wrong("max_tokens", "a positive integer", value)
    if value < 1:
        raise InvalidRequest("max_tokens: must be at least 1")


def _check_messages(messages: Any) -> None:
    a_list(messages, "messages")
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    if len(messages) > _MOST_MESSAGES:
        raise InvalidRequest(f"messages: more than {_MOST_MESSAGES:,} messages")
    callable_ids: set[str] = set()  # of the assistant turn that the next user turn answers
    before = ""
    for place, message in enumerate(messages):
        role, calls, _, answers = _facts_of(message, place)
        if role == "assistant":
            if before == "user":
                callable_ids = set()
            callable_ids.update(calls)
        elif answers:
            _check_answers(answers, callable_ids, place)
        if role != "system":  # a system turn in between changes nothing
            before = role
    if not before:
        raise InvalidRequest("messages: at least one message must be of the user or the assistant")


def _facts_of(message: Any, place: int) -> Facts:
    """Check one message, unless that was done when another request brought it, and say what is in it."""
    shared = type(message) is SharedMessage
    if shared and message.facts is not None:
        return cast("Facts", message.facts)
    if not shared and type(message) is not dict:
        raise wrong(f"messages.{place}", "a message (an object)", message)
    role = _check_message(message, f"messages.{place}")
    facts = _facts_in(message.get("content"), role)
    if shared:
        message.facts = facts
    return facts


def _facts_in(content: Any, role: str) -> Facts:
    if type(content) is not list:
        return _TEXT_OF[role]
    calls = [block for block in content if block["type"] == "tool_use"] if role == "assistant" else ()
    return Facts(
        role,
        tuple(block["id"] for block in calls),
        tuple(block["name"] for block in calls),
        tuple((n, block["tool_use_id"]) for n, block in enumerate(content) if block["type"] == "tool_result"),
    )


def _check_message(message: Json, at: str) -> str:
    """Check one message and give its role."""
    role = a_string(message.get("role"), f"{at}.role")
    if role not in ROLES:
        raise InvalidRequest(f"{at}.role: must be user, assistant or system, not {role[:40]!r}")
    content = message.get("content")
    if role == "system" and content is None and message.get("output_config") is not None:
        return role  # says how to answer from here on, and nothing else
    check_content(content, role, f"{at}.content")
    return role


def _check_answers(answers: tuple[tuple[int, str], ...], callable_ids: set[str], place: int) -> None:
    """Refuse a tool_result that answers no call of the assistant turn before it."""
    for block, call_id in answers:
        if call_id not in callable_ids:
            raise InvalidRequest(
                f"messages.{place}.content.{block}.tool_use_id: no tool_use of the assistant turn before it "
                f"has the id {call_id[:80]!r}"
            )


def _check_system(value: Any) -> None:
    if type(value) is str:
        return
    for place, block in enumerate(a_list(value, "system", "a string or a list of text blocks")):
        check_block(block, TEXT_BLOCKS, f"system.{place}")


def _check_stream(value: Any) -> None:
    if type(value) is not bool:
        raise wrong("stream", "a boolean", value)


def _check_temperature(value: Any) -> None:
    _check_fraction(value, "temperature")


def _check_top_p(value: Any) -> None:
    _check_fraction(value, "top_p")


def _check_fraction(value: Any, at: str) -> None:
    if type(value) not in {int, float}:
        raise wrong(at, "a number", value)
    if not 0 <= value <= 1:
        raise InvalidRequest(f"{at}: must be between 0 and 1")


def _check_top_k(value: Any) -> None:
    if type(value) is not int:
        raise wrong("top_k", "an integer", value)
    if value < 0:
        raise InvalidRequest("top_k: must not be negative")


def _check_stop_sequences(value: Any) -> None:
    for place, one in enumerate(a_list(value, "stop_sequences", "a list of strings")):
        if not a_string(one, f"stop_sequences.{place}").strip():
            raise InvalidRequest(f"stop_sequences.{place}: must contain something other than white space")


def _check_metadata(value: Any) -> None:
    user = an_object(value, "metadata").get("user_id")
    if user is not None:
        a_string(user, "metadata.user_id")


def _check_thinking(value: Any) -> None:
    """Check what no model takes: which budgets and kinds one does is the upstream's to say."""
    kind = a_string(an_object(value, "thinking").get("type"), "thinking.type")
    if kind != "enabled":
        return
    budget = value.get("budget_tokens")
    if type(budget) is not int:
        raise wrong("thinking.budget_tokens", "an integer", budget)
    if budget < 1:
        raise InvalidRequest("thinking.budget_tokens: must be at least 1")


def _check_output_config(value: Any) -> None:
    an_object(value, "output_config")
    if value.get("effort") is not None:
        a_string(value["effort"], "output_config.effort")
    if value.get("format") is not None:
        _check_format(value["format"], "output_config.format")


def _check_output_format(value: Any) -> None:
    """Check the place where the beta of structured outputs had its format."""
    _check_format(value, "output_format")


def _check_format(value: Any, at: str) -> None:
    kind = a_string(an_object(value, at).get("type"), f"{at}.type")
    if kind == "json_schema":
        check_any_schema(an_object(value.get("schema"), f"{at}.schema"), f"{at}.schema")


def _check_service_tier(value: Any) -> None:
    a_string(value, "service_tier")


def _check_cache_control(value: Any) -> None:
    check_cache_control(value, "cache_control")


_FORBIDDEN = frozenset({"api_base", "api_key", "base_url"})
"""Fields by which clients of other gateways redirect a request, or bring their own key into a log."""

_OPTIONAL: dict[str, Callable[[Any], None]] = {
    "system": _check_system,
    "tools": check_tools,
    "stream": _check_stream,
    "temperature": _check_temperature,
    "top_p": _check_top_p,
    "top_k": _check_top_k,
    "stop_sequences": _check_stop_sequences,
    "metadata": _check_metadata,
    "thinking": _check_thinking,
    "output_config": _check_output_config,
    "output_format": _check_output_format,
    "service_tier": _check_service_tier,
    "cache_control": _check_cache_control,
}
"""Fields that may be absent or null."""

_OWN = ("cache_control", "output_config", "output_format", "stop_sequences", "system", "thinking", "top_k")
