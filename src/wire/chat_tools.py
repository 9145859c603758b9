"""Tools on a chat wire: definitions, the choice among them, and which of them are there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.chat_parts import json_text, marked
from wire.check_tools import is_custom
from wire.errors import UnsupportedContent
from wire.interning import SharedMessage, SharedTools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Json
    from wire.names import ToolNames


def chat_tools(tools: list[Json], loaded: list[str], names: ToolNames) -> list[Json]:
    """Render the client's own tools as chat functions.

    A tool with `defer_loading` goes only if it is in `loaded`: a chat backend has no tool search that would
    load it. Such tools come behind all others and in the order of their loading, so that the tools of a turn
    begin with those of the turn before. `eager_input_streaming` needs nothing: a chat streams arguments as
    they come. The cache breakpoint of a tool that does not go, such as web search, moves to the one before.
    """
    if type(tools) is SharedTools and tools.chat is not None and names.plain:
        return tools.chat
    rendered: list[Json] = []
    for tool in tools:
        if is_custom(tool) and not tool.get("defer_loading"):
            rendered.append(_function(tool, names))
        elif rendered and not is_custom(tool):
            marked(rendered[-1], tool)
    waiting = {tool["name"]: tool for tool in tools if tool.get("defer_loading") and is_custom(tool)}
    rendered += [_function(waiting[name], names) for name in loaded if name in waiting]
    if type(tools) is SharedTools and names.plain and not (tools.marked or loaded):
        tools.chat = rendered
    return rendered


def web_plugin(tools: list[Json], choice: Json) -> Json | None:
    """Render Anthropic's web search as OpenRouter's `web` plugin; refuse every other Anthropic-defined tool.

    Those run on Anthropic's servers, or (bash, editor, computer, memory) have schemas only its models know.
    A plugin searches unasked, for money: there is none where `choice` forbids the tool or forces another.
    """
    plugin: Json | None = None
    for place, tool in enumerate(tools):
        if is_custom(tool):
            continue
        if not tool["type"].startswith("web_search_"):
            raise UnsupportedContent(
                f"tools.{place}: {tool['type'][:60]!r} is Anthropic's own tool and has no form on a chat wire"
            )
        if _may_call(tool, choice):
            plugin = {"id": "web"}
            for field, chat_field in _WEB_FIELDS:
                if tool.get(field):
                    plugin[chat_field] = tool[field]
    return plugin


def _may_call(tool: Json, choice: Json) -> bool:
    """Tell whether `tool_choice` leaves a tool that may have no name to the model."""
    match choice.get("type"):
        case "none":
            return False
        case "tool":
            return tool.get("name") in (None, choice["name"])
        case _:
            return True


def refuse_a_choice_of_nothing(choice: Json) -> None:
    """Refuse a `tool_choice` that demands a call where no tool is there to be called."""
    if choice.get("type") == "any":
        raise UnsupportedContent(
            "tool_choice: 'any' demands a call, and every tool waits to be loaded (defer_loading)"
        )


def chat_tool_choice(choice: Json, functions: list[Json], names: ToolNames) -> Any:
    """Render `tool_choice`; None when what it names is a plugin, which runs anyway."""
    match choice["type"]:
        case "any":
            return "required"
        case "tool":
            name = names.short(choice["name"])
            known = any(function["function"]["name"] == name for function in functions)
            return {"type": "function", "function": {"name": name}} if known else None
        case plain:
            return plain


def names_used(body: Json) -> set[str]:
    """Give every tool name in the request, that of calls made earlier too."""
    names = {tool["name"] for tool in body.get("tools") or [] if is_custom(tool)}
    for message in body["messages"]:
        if type(message) is SharedMessage and message.facts is not None:
            names.update(message.facts.names)
        elif message["role"] == "assistant" and isinstance(message["content"], list):
            names.update(block["name"] for block in message["content"] if block["type"] == "tool_use")
    return names


def names_loaded(body: Json) -> list[str]:
    """Give the names of tools that the conversation has loaded or called, or that `tool_choice` forces.

    In the order in which that came, each once. Empty if no tool waits to be loaded.
    """
    if not any(tool.get("defer_loading") for tool in body.get("tools") or ()):
        return []
    loaded: dict[str, None] = {}
    for message in body["messages"]:
        if isinstance(message.get("content"), list):
            for block in message["content"]:
                loaded.update(dict.fromkeys(_references(block)))
    loaded[(body.get("tool_choice") or {}).get("name", "")] = None
    return list(loaded)


def _references(block: Json) -> Iterator[str]:
    """Give the names of tools a block calls or loads: by a client's tool search, or by Anthropic's."""
    content = block.get("content")
    match block["type"]:
        case "tool_use":
            yield block["name"]
        case "tool_result" if isinstance(content, list):
            yield from (part["tool_name"] for part in content if part["type"] == "tool_reference")
        case "tool_search_tool_result" if isinstance(content, dict):
            found = content.get("tool_references")
            for one in found if isinstance(found, list) else ():
                if isinstance(one, dict) and isinstance(one.get("tool_name"), str):
                    yield one["tool_name"]
        case "tool_addition" if isinstance(block["tool"].get("name"), str):
            yield block["tool"]["name"]


def _function(tool: Json, names: ToolNames) -> Json:
    """Render one tool as a chat function."""
    function: Json = {"name": names.short(tool["name"])}
    description = tool.get("description") or ""
    if tool.get("input_examples"):
        description += f"\n\nExamples of input: {json_text(tool['input_examples'], 'tools')}"
    if description:
        function["description"] = description
    function["parameters"] = _parameters(tool["input_schema"])
    if tool.get("strict"):
        function["strict"] = True
    return marked({"type": "function", "function": function}, tool)


def _parameters(schema: Json) -> Json:
    """Give the schema as chat backends take it: an object that says so, without Anthropic's nulls."""
    if "type" in schema and None not in schema.values():
        return schema
    return {"type": "object"} | {key: value for key, value in schema.items() if value is not None}


_WEB_FIELDS = (
    ("max_uses", "max_uses"),
    ("allowed_domains", "include_domains"),
    ("blocked_domains", "exclude_domains"),
    ("user_location", "user_location"),
)
