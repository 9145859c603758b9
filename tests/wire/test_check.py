"""Validation: what is refused, and with which path; what must pass."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.wire.requests import (
    EPHEMERAL,
    GIF,
    PDF,
    PNG,
    assistant,
    call,
    document,
    image,
    pdf,
    request,
    result,
    system,
    text,
    tool,
    user,
)
from wire.check import check_own_fields, check_request, encode_body, parse_body
from wire.errors import InvalidRequest


@dataclass(frozen=True)
class Case:
    """A field put into (or taken out of) a good request, and how the refusal begins."""

    path: str
    change: dict[str, Any] = field(default_factory=dict)
    without: str = ""


DEEP: Any = {}
for _ in range(260):
    DEEP = {"properties": {"a": DEEP}}

BAD_FIELDS = [
    Case("model: must be a string, not null", without="model"),
    Case("model: must be a string, not a number", {"model": 5}),
    Case("model: must not be empty", {"model": ""}),
    Case("max_tokens: must be a positive integer, not null", without="max_tokens"),
    Case("max_tokens: must be a positive integer, not a string", {"max_tokens": "5"}),
    Case("max_tokens: must be a positive integer, not a boolean", {"max_tokens": True}),
    Case("max_tokens: must be a positive integer, not a number", {"max_tokens": 5.0}),
    Case("max_tokens: must be at least 1", {"max_tokens": 0}),
    Case("max_tokens: must be at least 1", {"max_tokens": -1}),
    Case("messages: must be a list, not null", without="messages"),
    Case("messages: must be a list, not an object", {"messages": {}}),
    Case("messages: at least one", {"messages": []}),
    Case("messages: more than", {"messages": [user("x")] * 100_001}),
    Case("messages: at least one message must be of the user", {"messages": [system("x")]}),
    Case("messages.0: must be a message", {"messages": ["hi"]}),
    Case("messages.0.role: must be a string", {"messages": [{"content": "hi"}]}),
    Case("messages.0.role: must be user,", {"messages": [{"role": "tool", "content": "hi"}]}),
    Case("messages.0.role: must be user,", {"messages": [{"role": "developer", "content": "hi"}]}),
    Case("messages.0.content: must be a string or a list", {"messages": [{"role": "user"}]}),
    Case(
        "messages.1.content: must be a string",
        {"messages": [user("x"), {"role": "assistant", "content": None}]},
    ),
    Case(
        "messages.0.content: must be a string", {"messages": [{"role": "system", "content": None}, user("x")]}
    ),
    Case(
        "messages.0.content: must be a string", {"messages": [{"role": "user", "content": {"type": "text"}}]}
    ),
    Case("api_base: ", {"api_base": "http://169.254.169.254"}),
    Case("api_key: ", {"api_key": "sk-or-secret"}),
    Case("base_url: ", {"base_url": None}),
    Case("system: must be a string or a list", {"system": 5}),
    Case("system.0: must be a content block", {"system": ["x"]}),
    Case("system.1.type: unknown block type 'image'", {"system": [text("x"), image()]}),
    Case("system.0.text: must be a string", {"system": [{"type": "text"}]}),
    Case("system.0.type: unknown block", {"system": [{"type": "tool_addition", "tool": {}}]}),
    Case("stream: must be a boolean", {"stream": "true"}),
    Case("stream: must be a boolean", {"stream": 1}),
    Case("temperature: must be a number", {"temperature": "1"}),
    Case("temperature: must be a number", {"temperature": True}),
    Case("temperature: must be between 0 and 1", {"temperature": 1.1}),
    Case("temperature: must be between 0 and 1", {"temperature": -0.1}),
    Case("top_p: must be between 0 and 1", {"top_p": 2}),
    Case("top_k: must be an integer", {"top_k": 1.5}),
    Case("top_k: must not be negative", {"top_k": -1}),
    Case("stop_sequences: must be a list", {"stop_sequences": "stop"}),
    Case("stop_sequences.1: must be a string", {"stop_sequences": ["a", 1]}),
    Case("stop_sequences.0: must contain", {"stop_sequences": [" \n"]}),
    Case("metadata: must be an object", {"metadata": []}),
    Case("metadata.user_id: must be a string", {"metadata": {"user_id": 7}}),
    Case("thinking: must be an object", {"thinking": True}),
    Case("thinking.type: must be a string", {"thinking": {}}),
    Case("thinking.budget_tokens: must be an integer", {"thinking": {"type": "enabled"}}),
    Case(
        "thinking.budget_tokens: must be an integer",
        {"thinking": {"type": "enabled", "budget_tokens": "1024"}},
    ),
    Case(
        "thinking.budget_tokens: must be at least 1", {"thinking": {"type": "enabled", "budget_tokens": -5}}
    ),
    Case("thinking.budget_tokens: must be at least 1", {"thinking": {"type": "enabled", "budget_tokens": 0}}),
    Case("metadata.properties.a.properties.", {"metadata": DEEP}),
    Case("unknown.0.properties.a.", {"unknown": [DEEP]}),
    Case("output_config.more.properties.a.", {"output_config": {"more": DEEP}}),
    Case("output_config: must be an object", {"output_config": "low"}),
    Case("output_config.effort: must be a string", {"output_config": {"effort": 3}}),
    Case("output_config.format: must be an object", {"output_config": {"format": "json"}}),
    Case("output_config.format.type: must be a string", {"output_config": {"format": {}}}),
    Case(
        "output_config.format.schema: must be an object",
        {"output_config": {"format": {"type": "json_schema"}}},
    ),
    Case(
        "output_config.format.schema.type: not a valid",
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "strnig"}}}},
    ),
    Case("output_format.type: must be a string", {"output_format": {}}),
    Case("service_tier: must be a string", {"service_tier": 1}),
    Case("cache_control: must be an object", {"cache_control": "ephemeral"}),
    Case("cache_control.type: must be a string", {"cache_control": {}}),
    Case("cache_control.ttl: must be a string", {"cache_control": {"type": "ephemeral", "ttl": 5}}),
    Case("tools: must be a list", {"tools": {}}),
    Case("tools.0: must be an object", {"tools": ["Read"]}),
    Case("tools.0.type: must be a string", {"tools": [{"type": 5}]}),
    Case("tools.0.name: must be a string", {"tools": [{"input_schema": {}}]}),
    Case("tools.0.name: must not be empty", {"tools": [tool("")]}),
    Case("tools.0.name: must be a string", {"tools": [{"type": "bash_20250124", "name": 5}]}),
    Case("tools.1.name: tool names must be unique", {"tools": [tool("a"), tool("a")]}),
    Case(
        "tools.1.name: tool names must be unique",
        {"tools": [tool("web_search"), {"type": "web_search_20250305", "name": "web_search"}]},
    ),
    Case("tools.0.description: must be a string", {"tools": [tool(description=1)]}),
    Case("tools.0.strict: must be a boolean", {"tools": [tool(strict="yes")]}),
    Case("tools.0.defer_loading: must be a boolean", {"tools": [tool(defer_loading=1)]}),
    Case("tools.0.cache_control.type: must be a string", {"tools": [tool(cache_control={})]}),
    Case("tools.0.input_schema: must be an object, not null", {"tools": [{"name": "a"}]}),
    Case("tools.0.input_schema: must be an object", {"tools": [tool(schema=[])]}),
    Case("tools.0.input_schema.type: must be 'object'", {"tools": [tool(schema={"type": "string"})]}),
    Case("tools.0.input_schema.type: must be 'object'", {"tools": [tool(schema={"type": None})]}),
    Case(
        "tools.0.input_schema.properties.a.type: not a valid JSON schema: ",
        {"tools": [tool(schema={"type": "object", "properties": {"a": {"type": "text"}}})]},
    ),
    Case("tools.0.input_schema.items: not a valid", {"tools": [tool(schema={"items": [{}]})]}),
    Case("tools.0.input_schema.$schema: not a valid", {"tools": [tool(schema={"$schema": 5})]}),
    Case("tools.0.input_schema.required: not a valid", {"tools": [tool(schema={"required": "a"})]}),
    Case("tools.0.input_schema.properties.a.properties", {"tools": [tool(schema=DEEP)]}),
    Case("tool_choice: must be an object", {"tools": [tool()], "tool_choice": "auto"}),
    Case("tool_choice.type: must be a string", {"tools": [tool()], "tool_choice": {}}),
    Case(
        "tool_choice.type: must be one of any, auto", {"tools": [tool()], "tool_choice": {"type": "required"}}
    ),
    Case("tool_choice.name: must be a string", {"tools": [tool()], "tool_choice": {"type": "tool"}}),
    Case(
        "tool_choice.name: no tool is called 'Write'",
        {"tools": [tool()], "tool_choice": {"type": "tool", "name": "Write"}},
    ),
    Case("tool_choice: 'any' needs tools", {"tool_choice": {"type": "any"}}),
    Case("tool_choice: 'tool' needs tools", {"tools": [], "tool_choice": {"type": "tool", "name": "a"}}),
    Case(
        "tool_choice.disable_parallel_tool_use: must be a boolean",
        {"tools": [tool()], "tool_choice": {"type": "auto", "disable_parallel_tool_use": "yes"}},
    ),
]


@pytest.mark.parametrize("case", BAD_FIELDS, ids=lambda case: case.path)
def test_a_bad_field_is_named(case: Case) -> None:
    body = request(user("hello"), **case.change) if "messages" not in case.change else request() | case.change
    body.pop(case.without, None)
    with pytest.raises(InvalidRequest) as caught:
        check_request(body)
    assert caught.value.message.startswith(case.path)
    assert "secret" not in caught.value.message


def source(**fields: Any) -> dict[str, Any]:
    return {"type": "image", "source": fields}


BAD_BLOCKS: list[tuple[str, Any]] = [
    (": must be a content block (an object), not a string", "x"),
    (".type: must be a string, not null", {"text": "x"}),
    (".type: unknown block type 'video'", {"type": "video"}),
    (".type: unknown block type 'input_text'", {"type": "input_text", "text": "x"}),
    (".type: unknown block type 'tool_reference'", {"type": "tool_reference", "tool_name": "x"}),
    (".text: must be a string", {"type": "text", "text": 5}),
    (".citations: must be a list", text("x", citations={})),
    (".cache_control: must be an object", text("x", cache_control="ephemeral")),
    (".cache_control.type: must be a string", text("x", cache_control={"ttl": "5m"})),
    (".source: must be an object", {"type": "image"}),
    (".source.type: must be base64, url or file", source(type="data")),
    (".source.data: must be a string", source(type="base64", media_type="image/png")),
    (".source.media_type: must be a string", source(type="base64", data=PNG)),
    (".source.media_type: must be one of image/gif", image(PNG, "image/bmp")),
    (".source.media_type: the bytes are not image/png: they look like image/gif", image(GIF)),
    (".source.data: not valid base64", image("not base64!")),
    (".source.data: not valid base64", image(f"data:image/png;base64,{PNG}")),
    (".source.data: must not be empty", image("")),
    (".source.url: must be a string", source(type="url")),
    (".source.url: must not be empty", source(type="url", url="")),
    (".source.file_id: must be a string", source(type="file")),
    (".title: must be a string", pdf(title=5)),
    (".context: must be a string", pdf(context=[])),
    (".source: must be an object", {"type": "document"}),
    (".source.type: must be base64, text, url", document({"type": "pdf"})),
    (".source.data: must be a string", document({"type": "base64", "media_type": "application/pdf"})),
    (".source.media_type: must be application/pdf", document({"type": "base64", "data": PDF})),
    (
        ".source.media_type: the bytes are not application/pdf",
        document({"type": "base64", "media_type": "application/pdf", "data": PNG}),
    ),
    (".source.data: must be a string", document({"type": "text", "media_type": "text/plain"})),
    (".source.url: must be a string", document({"type": "url"})),
    (".source.file_id: must not be empty", document({"type": "file", "file_id": ""})),
    (".source.content: must be a string or a list", document({"type": "content"})),
    (".source.content.0.type: unknown block", document({"type": "content", "content": [pdf()]})),
    (".source.content.1.text: must", document({"type": "content", "content": [text("a"), {"type": "text"}]})),
    (".source: must be a string", {"type": "search_result"}),
    (".title: must be a string", {"type": "search_result", "source": "s"}),
    (".content: must be a list", {"type": "search_result", "source": "s", "title": "t", "content": "x"}),
    (
        ".content.0.type: unknown block type 'image'",
        {"type": "search_result", "source": "s", "title": "t", "content": [image()]},
    ),
    (".type: tool_use blocks are for the assistant role only", call("a")),
    (".type: thinking blocks are for", {"type": "thinking", "thinking": "", "signature": ""}),
    (".tool_use_id: must be a string", {"type": "tool_result"}),
    (".tool_use_id: no tool_use of the assistant turn", result("nobody")),
    (".content: must be a string or a list", {"type": "tool_result", "tool_use_id": "a", "content": 5}),
    (".content.0: must be a content block", result("a", None)),
    (".content.0.type: unknown block type 'tool_use'", result("a", call("b"))),
    (".content.0.tool_name: must be a string", result("a", {"type": "tool_reference"})),
    (".content.1.source.data: not valid base64", result("a", text("x"), image("###"))),
    (".is_error: must be a boolean", result("a", is_error="no")),
    (".file_id: must be a string", {"type": "container_upload"}),
    (".tool_use_id: must be a string", {"type": "web_search_tool_result", "content": []}),
]


@pytest.mark.parametrize(("complaint", "block"), BAD_BLOCKS)
def test_a_bad_block_is_named(complaint: str, block: Any) -> None:
    body = request(user("hello"), assistant("I read."), {"role": "user", "content": [text("x"), block]})
    with pytest.raises(InvalidRequest) as caught:
        check_request(body)
    assert caught.value.message.startswith(f"messages.2.content.1{complaint}")


BAD_ASSISTANT_BLOCKS: list[tuple[str, Any]] = [
    (".id: must be a string", {"type": "tool_use", "name": "Read", "input": {}}),
    (".name: must be a string", {"type": "tool_use", "id": "a", "input": {}}),
    (".name: must not be empty", call("a", "")),
    (
        ".input: must be an object, not a string",
        {"type": "tool_use", "id": "a", "name": "Read", "input": "{}"},
    ),
    (".type: tool_result blocks are for the user role only", result("a")),
    (".thinking: must be a string", {"type": "thinking", "signature": ""}),
    (".signature: must be a string", {"type": "thinking", "thinking": "", "signature": 5}),
    (".data: must be a string", {"type": "redacted_thinking"}),
    (".content: must be a string", {"type": "compaction", "content": []}),
    (".tool: must be an object", {"type": "tool_addition"}),
    (".input: must be an object", {"type": "server_tool_use", "id": "a", "name": "web_search"}),
]


@pytest.mark.parametrize(("complaint", "block"), BAD_ASSISTANT_BLOCKS)
def test_a_bad_block_of_the_assistant_is_named(complaint: str, block: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request(request(user("hello"), {"role": "assistant", "content": [block]}))
    assert caught.value.message.startswith(f"messages.1.content.0{complaint}")


GOOD = {
    "content: string": request(),
    "content: no blocks": request({"role": "user", "content": []}),
    "prefill": request(user("hi"), assistant("The answer is (")),
    "empty prefill": request(user("hi"), assistant("")),
    "tools: none": request(tools=[]),
    "nulls": request(
        tools=None, system=None, stop_sequences=None, temperature=None, tool_choice=None, thinking=None
    ),
    "cache_control: null": request(user(text("x", cache_control=None)), cache_control=None),
    "cache_control: ttl, scope": request(
        user(text("x", cache_control=EPHEMERAL | {"ttl": "1h", "scope": "global"}))
    ),
    "system: text": request(system="Be brief."),
    "system: blocks": request(system=[text("Be brief.", cache_control=EPHEMERAL), text("")]),
    "role system: tool changes": request(
        user("hi"), system({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}})
    ),
    "role system: text": request(user("hi"), system("Note.")),
    "role system: output_config": request(user("hi"), system("Note.", output_config={"effort": "low"})),
    "role system: only output_config": request(
        user("hi"), {"role": "system", "output_config": {"effort": "low"}}
    ),
    "unknown fields": request(
        user(text("x", shiny=True)),
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        safeguards=[{"type": "dangerous_tool_use"}],
        something_new={"a": [1]},
    ),
    "results in another order": request(
        user("hi"), assistant(call("a"), call("b")), user(result("b", "2"), result("a", "1"))
    ),
    "results in two user turns": request(
        user("hi"), assistant(call("a"), call("b")), user(result("a", "1")), user(result("b", "2"))
    ),
    "calls in two assistant turns": request(
        user("hi"), assistant(call("a")), assistant(call("b")), user(result("a", "1"), result("b", "2"))
    ),
    "system between call and result": request(
        user("hi"), assistant(call("a")), system("Note."), user(result("a"))
    ),
    "empty and duplicate ids": request(
        user("hi"), assistant(call(""), call("a"), call("a")), user(result(""), result("a"), result("a"))
    ),
    "an id used again": request(
        user("hi"), assistant(call("a")), user(result("a")), assistant(call("a")), user(result("a"))
    ),
    "result content: null": request(user("hi"), assistant(call("a")), user(result("a") | {"content": None})),
    "result content: nothing": request(user("hi"), assistant(call("a")), user(result("a") | {"content": []})),
    "result content: everything": request(
        user("hi"),
        assistant(call("a")),
        user(
            result(
                "a",
                text("x"),
                image(),
                pdf(),
                {"type": "tool_reference", "tool_name": "Read"},
                {"type": "search_result", "source": "s", "title": "t", "content": [text("x")]},
                {"type": "browser_state", "tabs": []},
                is_error=False,
            )
        ),
    ),
    "documents": request(
        user(
            pdf(title="Report", context="Annual", citations={"enabled": True}),
            document({"type": "url", "url": "https://example.com/a.pdf"}),
            document({"type": "text", "media_type": "text/plain", "data": "x"}),
            document({"type": "content", "content": "x"}),
            document({"type": "content", "content": [text("x"), image()]}),
            document({"type": "file", "file_id": "file_1"}),
        )
    ),
    "images": request(
        user(
            image(GIF, "image/gif"),
            source(type="url", url="https://example.com/a.png"),
            source(type="file", file_id="file_1"),
        )
    ),
    "server tools' blocks": request(
        user("hi", {"type": "container_upload", "file_id": "file_1"}),
        assistant(
            {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
            {"type": "thinking", "thinking": "Hm."},
            {"type": "redacted_thinking", "data": "abc"},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "mcp_tool_use", "id": "m", "name": "x", "input": {}, "server_name": "s"},
            {"type": "mcp_tool_result", "tool_use_id": "m", "content": "x"},
            {"type": "compaction", "content": None},
            {"type": "compaction", "content": "so far"},
            {"type": "fallback", "from": {}, "to": {}},
            text("x", citations=[]),
            text("x", citations=None),
        ),
    ),
    "tools of every kind": request(
        tools=[
            tool(
                "Read", {"type": "object", "properties": None, "required": None}, strict=True, type="custom"
            ),
            tool("mcp__" + "x" * 90, {}),
            tool("odd.name/with spaces", {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}),
            tool("deferred", defer_loading=True, eager_input_streaming=None, cache_control=EPHEMERAL),
            tool("draft7", {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}]}),
            tool(
                "draft4",
                {"$schema": "http://json-schema.org/draft-04/schema", "exclusiveMinimum": True, "minimum": 1},
            ),
            tool("private draft", {"$schema": "https://example.com/ours", "type": "object"}),
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "mcp_toolset", "mcp_server_name": "files"},
            {"type": "not_known_yet_20270101", "name": "future"},
        ],
        tool_choice={"type": "tool", "name": "Read", "disable_parallel_tool_use": True},
    ),
    "tool_choice: a toolset's member": request(
        tools=[{"type": "mcp_toolset", "mcp_server_name": "files"}],
        tool_choice={"type": "tool", "name": "files_read"},
    ),
    "tool_choice: none without tools": request(tool_choice={"type": "none"}),
    "thinking": request(thinking={"type": "enabled", "budget_tokens": 31999, "display": "summarized"}),
    "thinking: adaptive": request(
        thinking={"type": "adaptive"}, output_config={"effort": "max", "task_budget": {}}
    ),
    "format": request(output_config={"format": {"type": "json_schema", "schema": {"type": "array"}}}),
    "format of another kind": request(output_config={"format": {"type": "grammar"}}),
    "numbers": request(temperature=1, top_p=0.5, top_k=0, stop_sequences=["\n\nHuman:"], stream=False),
    "metadata": request(metadata={"user_id": None}, service_tier="auto", cache_control=EPHEMERAL),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_requests_pass_unchanged(name: str) -> None:
    body = parse_body(encode_body(GOOD[name]))
    before = copy.deepcopy(body)
    check_request(body)
    check_request(body)  # the second time from what is kept
    assert body == before


def test_count_tokens_needs_no_max_tokens() -> None:
    body = request()
    del body["max_tokens"]
    check_request(body, need_max_tokens=False)
    with pytest.raises(InvalidRequest, match=r"^max_tokens: "):
        check_request(body | {"max_tokens": 0}, need_max_tokens=False)


def test_a_result_for_an_earlier_turn_is_an_orphan() -> None:
    body = request(user("hi"), assistant(call("a")), user(result("a")), assistant("done"), user(result("a")))
    with pytest.raises(InvalidRequest, match=r"^messages\.4\.content\.0\.tool_use_id: .*'a'$"):
        check_request(body)


def test_a_result_before_any_call_is_an_orphan() -> None:
    with pytest.raises(InvalidRequest, match=r"^messages\.0\.content\.0\.tool_use_id: "):
        check_request(request(user(result("a")), assistant(call("a"))))


def test_no_schema_is_fetched_from_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `$schema` or `$ref` of the client's choice must not make the gateway call an address."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/schema"
        schema = {
            "$schema": address,
            "properties": {"a": {"$ref": address}, "b": {"$schema": address, "$id": address}},
        }
        check_request(request(tools=[tool(schema=schema)]))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_fields_of_anthropics_own_are_checked_in_another_apis_body() -> None:
    check_own_fields({"model": 5, "thinking": None, "output_config": {"effort": "low"}})
    with pytest.raises(InvalidRequest, match=r"^output_config: "):
        check_own_fields({"output_config": "low"})
