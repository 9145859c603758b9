"""What a chat/completions request may not be, and the path that is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.wire.requests import PDF
from wire.body import parse_body
from wire.errors import InvalidRequest
from wire.interning import SMALLEST_BODY, SharedMessage
from wire.openai_check import check_openai, parsed_arguments

HI = {"role": "user", "content": "hi"}
SAYS = {"role": "assistant", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
CALLS_OLD = {"role": "assistant", "content": None, "function_call": {"name": "read", "arguments": "{}"}}


def body(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [HI], **fields}


def part(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": kind, kind: value, **more}]}


GOOD = {
    "least": body(),
    "nulls": body(**dict.fromkeys(("n", "stop", "tools", "tool_choice", "functions", "max_tokens", "user"))),
    "roles": body(
        {"role": "developer", "content": "Be brief."}, {"role": "system", "content": "And kind."}, HI
    ),
    "parts": body(
        part("text", "a"),
        part("image_url", {"url": "https://a/b.png", "detail": "low"}, cache_control={"type": "ephemeral"}),
        part("file", {"file_data": PDF, "filename": None}),
        part("input_audio", {"data": "x", "format": "wav"}),
        {"role": "user", "content": [{"type": "of a kind to come"}]},
    ),
    "refused": body(HI, {"role": "assistant", "content": None, "refusal": "No."}, HI),
    "called": body(HI, CALLS, {"role": "tool", "tool_call_id": "call_1", "content": "done"}, SAYS),
    "called, custom": body(HI, {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}),
    "called as before tools": body(HI, CALLS_OLD, {"role": "function", "name": "read", "content": "done"}),
    "called without an answer": body(HI, CALLS_OLD, {"role": "function", "name": "read", "content": None}),
    "thought": body(HI, SAYS | {"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text"}]}),
    "tools": body(tools=[TOOL, {"type": "custom", "custom": {}}], tool_choice="required"),
    "a choice": body(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "read"}}),
    "a custom choice": body(tools=[TOOL], tool_choice={"type": "custom", "custom": {"name": "x"}}),
    "allowed tools": body(
        tools=[TOOL],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "auto",
                "tools": [{"type": "function", "function": {"name": "read"}}, {"type": "custom"}],
            },
        },
    ),
    "functions": body(functions=[{"name": "read", "description": "Reads."}], function_call={"name": "read"}),
    "formats": body(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}),
    "a format without a schema": body(response_format={"type": "json_schema", "json_schema": {"name": "n"}}),
    "reasoning": body(reasoning={"effort": "low", "max_tokens": 9}, reasoning_effort="low"),
    "a search": body(web_search_options={"user_location": {"type": "approximate", "approximate": {}}}),
    "stops": body(stop=["a", "\n"], temperature=2, top_p=1),
    "unknown": body(of_another_backend={"kept": 1}),
}


@pytest.mark.parametrize("name", GOOD)
def test_passes(name: str) -> None:
    check_openai(GOOD[name])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (body(api_key="sk-x"), "api_key: where requests go"),
        (body() | {"model": ""}, "model: must not be empty"),
        (body() | {"model": 5}, "model: must be a string, not a number"),
        (body() | {"messages": []}, "messages: at least one message is required"),
        (body() | {"messages": "hi"}, "messages: must be a list, not a string"),
        (body() | {"messages": [HI] * 100_001}, "messages: more than 100,000 messages"),
        (body("hi"), "messages.0: must be an object"),
        (body({"role": "teacher", "content": "x"}), "messages.0.role: must be one of assistant, developer"),
        (body({"role": "system", "content": "x"}), "messages: at least one message must be of the user"),
        (body(HI | {"name": 5}), "messages.0.name: must be a string"),
        (body({"role": "user"}), "messages.0.content: must be a string or a list of content parts, not null"),
        (body({"role": "user", "content": ["x"]}), "messages.0.content.0: must be an object"),
        (body({"role": "user", "content": [{}]}), "messages.0.content.0.type: must be a string"),
        (body(part("text", None)), "messages.0.content.0.text: must be a string"),
        (body(part("image_url", "x")), "messages.0.content.0.image_url: must be an object"),
        (body(part("image_url", {"url": ""})), "messages.0.content.0.image_url.url: must not be empty"),
        (body(part("file", {"file_data": 5})), "messages.0.content.0.file.file_data: must be a string"),
        (body(part("input_audio", 5)), "messages.0.content.0.input_audio: must be an object"),
        (body(part("text", "a", cache_control=5)), "messages.0.content.0.cache_control: must be an object"),
        (body(HI, SAYS | {"refusal": 5}), "messages.1.refusal: must be a string"),
        (body(HI, SAYS | {"reasoning_details": 5}), "messages.1.reasoning_details: must be a list"),
        (body(HI, SAYS | {"reasoning_details": [5]}), "messages.1.reasoning_details.0: must be an object"),
        (body(HI, SAYS | {"function_call": {}}), "messages.1.function_call.name: must be a string"),
        (body(HI, SAYS | {"tool_calls": 5}), "messages.1.tool_calls: must be a list"),
        (body(HI, SAYS | {"tool_calls": [5]}), "messages.1.tool_calls.0: must be an object"),
        (
            body(HI, SAYS | {"tool_calls": [CALL | {"id": ""}]}),
            "messages.1.tool_calls.0.id: must not be empty",
        ),
        (body(HI, SAYS | {"tool_calls": [CALL, CALL]}), "messages.1.tool_calls.1.id: another call"),
        (
            body(HI, SAYS | {"tool_calls": [CALL | {"function": {"name": "f", "arguments": "[1"}}]}),
            "messages.1.tool_calls.0.function.arguments: must be the text of a JSON object",
        ),
        (
            body(HI, CALLS, {"role": "tool", "tool_call_id": "x", "content": ""}),
            "messages.2.tool_call_id: no call of the assistant's message before it has the id 'x'",
        ),
        (
            body(HI, CALLS, {"role": "function", "name": "read", "content": ""}),
            "messages.2.name: the assistant's message before it calls no such function",
        ),
        (
            body(HI, CALLS_OLD, {"role": "function", "name": "read", "content": 5}),
            "messages.2.content: must be a string",
        ),
        (body(tools=[TOOL], functions=[{"name": "a"}]), "functions: give either tools or functions"),
        (body(tools=[5]), "tools.0: must be an object"),
        (body(tools=[{"type": "function"}]), "tools.0.function: must be an object"),
        (body(tools=[TOOL, TOOL]), "tools.1: tool names must be unique, and 'read' is not"),
        (body(tools=[TOOL | {"cache_control": 5}]), "tools.0.cache_control: must be an object"),
        (body(functions=[{"name": "a"}, {"name": "a"}]), "functions.1: tool names must be unique"),
        (body(functions=[{"name": "a", "description": 5}]), "functions.0.description: must be a string"),
        (body(functions=[{"name": "a", "strict": 5}]), "functions.0.strict: must be a boolean"),
        (
            body(functions=[{"name": "a", "parameters": {"type": "array"}}]),
            "functions.0.parameters.type: must be 'object'",
        ),
        (body(tool_choice="any"), "tool_choice: must be none, auto, required or a tool to call"),
        (body(tool_choice="required"), "tool_choice: 'required' needs tools"),
        (body(tool_choice={}), "tool_choice.type: must be a string"),
        (
            body(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "x"}}),
            "tool_choice.function.name: no tool is called 'x'",
        ),
        (body(function_call={"name": "x"}), "function_call.function.name: no tool is called 'x'"),
        (
            body(tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "any"}}),
            "tool_choice.allowed_tools.mode: must be auto or required",
        ),
        (body(max_tokens=0), "max_tokens: must be at least 1"),
        (body(max_completion_tokens=1.5), "max_completion_tokens: must be a positive integer"),
        (body(temperature=2.1), "temperature: must be between 0 and 2"),
        (body(temperature="x"), "temperature: must be a number"),
        (body(top_p=-1), "top_p: must be between 0 and 1"),
        (body(stop=5), "stop: must be a string or a list of strings"),
        (body(stop=["a", 5]), "stop.1: must be a string"),
        (body(stream="yes"), "stream: must be a boolean"),
        (body(response_format={"type": "json_schema"}), "response_format.json_schema: must be an object"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"schema": {"type": 5}}}),
            "response_format.json_schema.schema.type: not a valid JSON schema",
        ),
        (body(reasoning={"effort": 5}), "reasoning.effort: must be a string"),
        (body(reasoning={"max_tokens": 0}), "reasoning.max_tokens: must be at least 1"),
        (
            body(web_search_options={"user_location": {}}),
            "web_search_options.user_location.approximate: must",
        ),
    ],
)
def test_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        check_openai(wrong)
    assert raised.value.message.startswith(told)


def test_tools_too_deep_are_refused() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"items": deep}
    given = body(tools=[{"type": "function", "function": {"name": "a", "parameters": deep}}])
    with pytest.raises(InvalidRequest, match=r"^tools\.0\..*: nested too deeply$"):
        check_openai(given)


@pytest.mark.parametrize("name", GOOD)
def test_a_large_body_passes_too(name: str) -> None:
    """From 8 KB on, messages and tools are dicts and lists of a kind of their own (`wire.interning`)."""
    body = parse_body(orjson.dumps({**GOOD[name], "metadata": {"padding": "x" * SMALLEST_BODY}}))
    assert isinstance(body["messages"][0], SharedMessage)
    check_openai(body)


def test_arguments_may_be_absent_or_blank() -> None:
    assert parsed_arguments(None, "at") == parsed_arguments(" ", "at") == {}
