"""Validation of `tools` and `tool_choice`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson

from wire.body import shortened, unwritable
from wire.check_blocks import a_list, a_string, an_object, check_cache_control, wrong
from wire.errors import InvalidRequest
from wire.interning import SharedTools
from wire.known import TOOL_CHOICES

if TYPE_CHECKING:
    from wire.messages import Json

_NEWEST = "https://json-schema.org/draft/2020-12/schema"
_VALIDATORS = {
    _NEWEST: jsonschema_rs.Draft202012Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "http://json-schema.org/draft-06/schema": jsonschema_rs.Draft6Validator,
    "http://json-schema.org/draft-04/schema": jsonschema_rs.Draft4Validator,
}
_META = {draft: validator({"$ref": draft}) for draft, validator in _VALIDATORS.items()}
"""One validator per meta-schema. The library's own `meta.validate` would fetch an unknown `$schema` over the
network, which is for no client to decide."""

_draft_of = re.compile(r"#?$").sub


def check_tools(tools: Any) -> None:
    """Check the list of tools: names, and the schemas of those that have one.

    Clients send the same tools on every turn, so the verdict is kept by content.
    """
    shared = type(tools) is SharedTools
    if shared and tools.checked:
        return
    if not shared:
        a_list(tools, "tools")
    try:
        _check_encoded(orjson.dumps(tools))
    except TypeError:
        raise InvalidRequest(f"{unwritable(tools, 'tools')}: nested too deeply") from None
    if shared:
        tools.checked = True


@lru_cache(maxsize=128)
def _check_encoded(encoded: bytes) -> None:
    """Check tools given as JSON bytes, the key under which a good verdict is kept (a refusal is not)."""
    seen: set[str] = set()
    for place, tool in enumerate(orjson.loads(encoded)):
        at = f"tools.{place}"
        name = _check_tool(an_object(tool, at), at)
        if name is None:
            continue
        if name in seen:
            raise InvalidRequest(f"{at}.name: tool names must be unique, and {name[:128]!r} is not")
        seen.add(name)


def _check_tool(tool: Json, at: str) -> str | None:
    """Check one tool and give its name; toolsets (`mcp_toolset`, `browser_toolset_*`) have none."""
    kind = tool.get("type")
    if kind is not None:
        a_string(kind, f"{at}.type")
    if "cache_control" in tool:
        check_cache_control(tool["cache_control"], f"{at}.cache_control")
    if not is_custom(tool):
        return a_string(tool["name"], f"{at}.name") if tool.get("name") is not None else None
    name = a_string(tool.get("name"), f"{at}.name")
    if not name:
        raise InvalidRequest(f"{at}.name: must not be empty")
    if tool.get("description") is not None:
        a_string(tool["description"], f"{at}.description")
    for flag in ("strict", "defer_loading", "eager_input_streaming"):
        if type(tool.get(flag)) not in _BOOL_OR_NULL:
            raise wrong(f"{at}.{flag}", "a boolean", tool[flag])
    check_schema(tool.get("input_schema"), f"{at}.input_schema")
    return name


def is_custom(tool: Json) -> bool:
    """Tell a tool of the client's own from one that Anthropic defines by its type."""
    return tool.get("type") in _CUSTOM


def check_schema(schema: Any, at: str) -> None:
    """Check that `schema` is a valid JSON schema of an object, in the draft that it names.

    A draft nobody here knows counts as 2020-12, as do schemas that name none.
    """
    an_object(schema, at)
    if schema.get("type", "object") != "object":
        raise InvalidRequest(f"{at}.type: must be 'object'")
    check_any_schema(schema, at)


def check_any_schema(schema: Json, at: str) -> None:
    """Check that `schema` is a valid JSON schema, of whatever it describes."""
    draft = schema.get("$schema")
    named = _draft_of("", draft, count=1) if isinstance(draft, str) else None
    meta = _META.get(named or _NEWEST) or _META[_NEWEST]
    plain = {key: value for key, value in schema.items() if value is not None or key not in _NULLABLE}
    try:
        meta.validate(plain)
    except ValueError as error:  # jsonschema_rs.ValidationError, or too deep for it
        path = getattr(error, "instance_path", [])
        where = shortened(".".join([at, *map(str, path)]))
        what = getattr(error, "message", "nested too deeply")
        raise InvalidRequest(f"{where}: not a valid JSON schema: {what[:200]}") from None


def check_tool_choice(choice: Any, tools: list[Json]) -> None:
    """Check `tool_choice`, and that a tool it forces is there to be called."""
    an_object(choice, "tool_choice")
    kind = a_string(choice.get("type"), "tool_choice.type")
    if kind not in TOOL_CHOICES:
        raise InvalidRequest(f"tool_choice.type: must be one of {', '.join(sorted(TOOL_CHOICES))}")
    parallel = choice.get("disable_parallel_tool_use")
    if type(parallel) not in _BOOL_OR_NULL:
        raise wrong("tool_choice.disable_parallel_tool_use", "a boolean", parallel)
    if kind in {"any", "tool"} and not tools:
        raise InvalidRequest(f"tool_choice: {kind!r} needs tools, and the request has none")
    if kind == "tool":
        name = a_string(choice.get("name"), "tool_choice.name")
        names = {tool.get("name") for tool in tools}
        if name not in names and None not in names:  # a toolset's members are not listed
            raise InvalidRequest(f"tool_choice.name: no tool is called {name[:128]!r}")


_BOOL_OR_NULL = frozenset({bool, type(None)})
_CUSTOM = frozenset({None, "custom"})
_NULLABLE = frozenset({"properties", "required", "description"})
"""Keywords that Anthropic's API takes as null, though JSON schema does not."""
