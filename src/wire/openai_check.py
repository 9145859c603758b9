"""Validation of a chat/completions request: enough that the converter may read it without asking again.

Paths are those of the client's own body (`messages.3.content.0.image_url.url`). Fields nobody here knows
pass: backends add to this API, and so do their clients.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from wire.body import unwritable
from wire.check_blocks import a_list, a_string, an_object, check_cache_control, wrong
from wire.check_tools import check_any_schema, check_schema
from wire.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire.messages import Json

MESSAGE_ROLES = frozenset({"assistant", "developer", "function", "system", "tool", "user"})

_FORBIDDEN = ("api_base", "api_key", "base_url")
_MOST_MESSAGES = 100_000


def check_openai(body: Json) -> None:
    """Check the body of `POST /v1/chat/completions`.

    Raises InvalidRequest whose message begins with the path of what is wrong. Never changes `body`.
    """
    for field in _FORBIDDEN:
        if field in body:
            raise InvalidRequest(f"{field}: where requests go is for the gateway's settings to say")
    _filled(body.get("model"), "model")
    for field, check in _OPTIONAL.items():
        if body.get(field) is not None:
            check(body[field], field)
    if body.get("tools") and body.get("functions"):
        raise InvalidRequest("functions: give either tools or functions, not both")
    _check_choice(body)
    _check_messages(body.get("messages"))


def _check_messages(messages: Any) -> None:
    a_list(messages, "messages")
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    if len(messages) > _MOST_MESSAGES:
        raise InvalidRequest(f"messages: more than {_MOST_MESSAGES:,} messages")
    open_ids: set[str] = set()  # of the calls that tool messages may answer now
    called = ""  # the function called before tools were, likewise
    spoken = False
    for place, message in enumerate(messages):
        at = f"messages.{place}"
        role = a_string(an_object(message, at).get("role"), f"{at}.role")
        if role not in MESSAGE_ROLES:
            raise InvalidRequest(f"{at}.role: must be one of {', '.join(sorted(MESSAGE_ROLES))}")
        if message.get("name") is not None:
            a_string(message["name"], f"{at}.name")
        spoken = spoken or role not in {"system", "developer"}
        match role:
            case "assistant":
                open_ids = _check_assistant(message, at)
                called = (message.get("function_call") or {}).get("name", "")
            case "tool":
                _check_parts(message.get("content"), f"{at}.content")
                identity = _filled(message.get("tool_call_id"), f"{at}.tool_call_id")
                if identity not in open_ids:
                    raise InvalidRequest(
                        f"{at}.tool_call_id: no call of the assistant's message before it has the id "
                        f"{identity[:80]!r}"
                    )
            case "function":
                if message.get("content") is not None:
                    a_string(message["content"], f"{at}.content")
                if not called or _filled(message.get("name"), f"{at}.name") != called:
                    raise InvalidRequest(
                        f"{at}.name: the assistant's message before it calls no such function"
                    )
                called = ""
            case _:
                _check_parts(message.get("content"), f"{at}.content")
    if not spoken:
        raise InvalidRequest("messages: at least one message must be of the user or the assistant")


def _check_assistant(message: Json, at: str) -> set[str]:
    """Check an assistant's message and give the ids of its calls."""
    if message.get("content") is not None:
        _check_parts(message["content"], f"{at}.content")
    for field in ("refusal", "reasoning", "reasoning_content"):
        if message.get(field) is not None:
            a_string(message[field], f"{at}.{field}")
    if message.get("reasoning_details") is not None:
        for place, detail in enumerate(a_list(message["reasoning_details"], f"{at}.reasoning_details")):
            an_object(detail, f"{at}.reasoning_details.{place}")
    if message.get("function_call") is not None:
        _check_called(message["function_call"], f"{at}.function_call")
    ids: set[str] = set()
    for place, call in enumerate(a_list(message.get("tool_calls") or [], f"{at}.tool_calls")):
        where = f"{at}.tool_calls.{place}"
        identity = _filled(an_object(call, where).get("id"), f"{where}.id")
        if identity in ids:
            raise InvalidRequest(f"{where}.id: another call of this message has the same id")
        ids.add(identity)
        if call.get("type", "function") == "function":
            _check_called(call.get("function"), f"{where}.function")
    return ids


def _check_called(function: Any, at: str) -> None:
    _filled(an_object(function, at).get("name"), f"{at}.name")
    parsed_arguments(function.get("arguments"), f"{at}.arguments")


def parsed_arguments(arguments: Any, at: str) -> Json:
    """Give a call's arguments as the object that their text says; none are an empty one."""
    text = a_string("" if arguments is None else arguments, at).strip()
    if not text:
        return {}
    try:
        parsed = orjson.loads(text)
    except ValueError:
        raise InvalidRequest(f"{at}: must be the text of a JSON object") from None
    return an_object(parsed, at)


def _check_parts(content: Any, at: str) -> None:
    if type(content) is str:
        return
    for place, part in enumerate(a_list(content, at, "a string or a list of content parts")):
        where = f"{at}.{place}"
        kind = a_string(an_object(part, where).get("type"), f"{where}.type")
        check = _PARTS.get(kind)
        if check:
            check(part.get(kind), f"{where}.{kind}")
        if part.get("cache_control") is not None:
            check_cache_control(part["cache_control"], f"{where}.cache_control")


def _check_image(value: Any, at: str) -> None:
    _filled(an_object(value, at).get("url"), f"{at}.url")


def _check_file(value: Any, at: str) -> None:
    an_object(value, at)
    for field in ("file_data", "file_id", "filename"):
        if value.get(field) is not None:
            a_string(value[field], f"{at}.{field}")


_PARTS: dict[str, Callable[[Any, str], Any]] = {
    "text": a_string,
    "refusal": a_string,
    "image_url": _check_image,
    "file": _check_file,
    "input_audio": an_object,
}
"""Parts whose field of the same name is checked; others are for the backend to know."""


def _check_tools(tools: Any, at: str) -> None:
    """Check tools or functions. Clients send the same on every turn, so the verdict is kept by content."""
    a_list(tools, at)
    try:
        encoded = orjson.dumps(tools)
    except TypeError:
        raise InvalidRequest(f"{unwritable(tools, at)}: nested too deeply") from None
    _check_encoded(encoded, at)


@lru_cache(maxsize=128)
def _check_encoded(encoded: bytes, at: str) -> None:
    tools = orjson.loads(encoded)
    if at == "functions":
        _check_functions(tools, at)
        return
    for place, tool in enumerate(tools):
        where = f"{at}.{place}"
        kind = a_string(an_object(tool, where).get("type", "function"), f"{where}.type")
        if kind == "function":
            _check_function(tool.get("function"), f"{where}.function")
        if tool.get("cache_control") is not None:
            check_cache_control(tool["cache_control"], f"{where}.cache_control")
    _unique([(tool.get("function") or {}).get("name") for tool in tools], at)


def _check_functions(functions: list[Any], at: str) -> None:
    for place, function in enumerate(functions):
        _check_function(function, f"{at}.{place}")
    _unique([function["name"] for function in functions], at)


def _check_function(function: Any, at: str) -> None:
    _filled(an_object(function, at).get("name"), f"{at}.name")
    if function.get("description") is not None:
        a_string(function["description"], f"{at}.description")
    if function.get("parameters") is not None:
        check_schema(function["parameters"], f"{at}.parameters")
    if function.get("strict") is not None:
        _check_flag(function["strict"], f"{at}.strict")


def _unique(names: list[str | None], at: str) -> None:
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name is not None and name in seen:
            raise InvalidRequest(f"{at}.{place}: tool names must be unique, and {name[:128]!r} is not")
        seen.add(name or "")


def _check_choice(body: Json) -> None:
    """Check `tool_choice` or `function_call`, and that what it forces is there to be called."""
    names = {(tool.get("function") or {}).get("name") for tool in body.get("tools") or ()}
    _check_one_choice(body.get("tool_choice"), "tool_choice", names, bool(body.get("tools")))
    names = {function["name"] for function in body.get("functions") or ()}
    choice = body.get("function_call")
    if type(choice) is dict:
        choice = {"type": "function", "function": choice}
    _check_one_choice(choice, "function_call", names, bool(body.get("functions")))


def _check_one_choice(choice: Any, at: str, names: set[Any], any_tools: bool) -> None:
    if choice is None:
        return
    if type(choice) is str:
        if choice not in {"none", "auto", "required"}:
            raise InvalidRequest(f"{at}: must be none, auto, required or a tool to call")
        if choice == "required" and not any_tools:
            raise InvalidRequest(f"{at}: 'required' needs tools, and the request has none")
        return
    match a_string(an_object(choice, at).get("type"), f"{at}.type"):
        case "function":
            function = an_object(choice.get("function"), f"{at}.function")
            _check_named(function, f"{at}.function", names)
        case "allowed_tools":
            allowed = an_object(choice.get("allowed_tools"), f"{at}.allowed_tools")
            if allowed.get("mode") not in ("auto", "required"):  # a tuple: what is there may be a list
                raise InvalidRequest(f"{at}.allowed_tools.mode: must be auto or required")
            listed = a_list(allowed.get("tools"), f"{at}.allowed_tools.tools")
            for place, tool in enumerate(listed):
                where = f"{at}.allowed_tools.tools.{place}"
                if an_object(tool, where).get("type", "function") == "function":
                    function = an_object(tool.get("function"), f"{where}.function")
                    _check_named(function, f"{where}.function", names)


def _check_named(function: Json, at: str, names: set[Any]) -> None:
    name = a_string(function.get("name"), f"{at}.name")
    if name not in names:
        raise InvalidRequest(f"{at}.name: no tool is called {name[:128]!r}")


def _check_flag(value: Any, at: str) -> None:
    if type(value) is not bool:
        raise wrong(at, "a boolean", value)


def a_count(value: Any, at: str) -> int:
    """Give `value` as a number of things, or refuse it."""
    if type(value) is not int:
        raise wrong(at, "a positive integer", value)
    if value < 1:
        raise InvalidRequest(f"{at}: must be at least 1")
    return value


def a_number(value: Any, at: str, most: float, least: float = 0) -> None:
    """Refuse `value` if it is no number within these limits."""
    if type(value) not in {int, float}:
        raise wrong(at, "a number", value)
    if not least <= value <= most:
        raise InvalidRequest(f"{at}: must be between {least:g} and {most:g}")


def _check_stop(value: Any, at: str) -> None:
    if type(value) is not str:
        for place, one in enumerate(a_list(value, at, "a string or a list of strings")):
            a_string(one, f"{at}.{place}")


def _check_format(value: Any, at: str) -> None:
    if a_string(an_object(value, at).get("type"), f"{at}.type") == "json_schema":
        wanted = an_object(value.get("json_schema"), f"{at}.json_schema")
        if wanted.get("schema") is not None:
            check_any_schema(
                an_object(wanted["schema"], f"{at}.json_schema.schema"), f"{at}.json_schema.schema"
            )


def _check_reasoning(value: Any, at: str) -> None:
    an_object(value, at)
    if value.get("effort") is not None:
        a_string(value["effort"], f"{at}.effort")
    if value.get("max_tokens") is not None:
        a_count(value["max_tokens"], f"{at}.max_tokens")


def _check_search(value: Any, at: str) -> None:
    place = an_object(value, at).get("user_location")
    if place is not None:
        an_object(
            an_object(place, f"{at}.user_location").get("approximate"), f"{at}.user_location.approximate"
        )


def _filled(value: Any, at: str) -> str:
    if not (text := a_string(value, at)):
        raise InvalidRequest(f"{at}: must not be empty")
    return text


_OPTIONAL: dict[str, Callable[[Any, str], Any]] = {
    "max_completion_tokens": a_count,
    "max_tokens": a_count,
    "n": a_count,
    "temperature": lambda value, at: a_number(value, at, 2),
    "top_p": lambda value, at: a_number(value, at, 1),
    "stop": _check_stop,
    "stream": _check_flag,
    "stream_options": an_object,
    "parallel_tool_calls": _check_flag,
    "logprobs": _check_flag,
    "tools": _check_tools,
    "functions": _check_tools,
    "response_format": _check_format,
    "reasoning_effort": a_string,
    "reasoning": _check_reasoning,
    "service_tier": a_string,
    "user": a_string,
    "safety_identifier": a_string,
    "metadata": an_object,
    "modalities": a_list,
    "web_search_options": _check_search,
}
"""Fields that may be absent or null."""
