"""Requests as a whole: what each field becomes."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from typing import Any

import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_message_create_params

from scripts.parameter_table import SAMPLES
from tests.wire.requests import EPHEMERAL, assistant, call, request, result, system, text, tool, user
from wire.breakpoints import BREAKPOINTS
from wire.chat_request import FATES, is_strict, to_chat
from wire.chat_turns import NO_RESULT
from wire.check import check_request
from wire.dialects import DATABRICKS_CLAUDE, OWN
from wire.errors import InvalidRequest, UnsupportedContent
from wire.signature import pack_details

BASE = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1024}
USAGE = {"usage": {"include": True}}
THOUGHT = {
    "type": "redacted_thinking",
    "data": pack_details([{"type": "reasoning.encrypted", "data": "x"}], "m"),
}
IN_PARTS = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]


def chat_of(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = request(*messages, **fields)
    check_request(body)
    before = copy.deepcopy(body)
    chat, _ = to_chat(body, model="openai/gpt-5")
    assert body == before
    return chat


@dataclass(frozen=True)
class Case:
    """Fields of the request, and the fields they add to the chat request."""

    name: str
    given: dict[str, Any]
    added: dict[str, Any] = field(default_factory=dict)


CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "title": "My answer!"}


def answer_format(name: str, schema: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": name, "strict": strict, "schema": schema},
        }
    }


def function(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **fields}}


WEB = {"type": "web_search_20250305", "name": "web_search"}
LONG = "mcp__" + "server_" * 12 + "read"
SHORT = to_chat(request(tools=[tool(LONG)]), model="m")[1].short(LONG)

CASES = [
    Case("nothing", {}),
    Case(
        "nulls",
        {"system": None, "temperature": None, "tools": None, "thinking": None, "stop_sequences": None},
    ),
    Case("stream", {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    Case("no stream", {"stream": False}),
    Case(
        "sampling",
        {"temperature": 0, "top_p": 0.5, "top_k": 40, "stop_sequences": ["a", "b"]},
        {"temperature": 0, "top_p": 0.5, "top_k": 40, "stop": ["a", "b"]},
    ),
    Case("no stop", {"stop_sequences": []}),
    Case("user", {"metadata": {"user_id": "u" * 64}}, {"user": "u" * 64}),
    Case("long user", {"metadata": {"user_id": "u" * 65}}, {"user": hashlib.sha256(b"u" * 65).hexdigest()}),
    Case("no user", {"metadata": {}}),
    Case("tier", {"service_tier": "auto"}, {"service_tier": "auto"}),
    Case("standard tier", {"service_tier": "standard_only"}, {"service_tier": "default"}),
    Case("another tier", {"service_tier": "flex"}, {"service_tier": "flex"}),
    Case(
        "cache",
        {"cache_control": EPHEMERAL | {"scope": "global"}},
        {"cache_control": EPHEMERAL, "messages": IN_PARTS},
    ),
    Case(
        "budget",
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"reasoning": {"max_tokens": 1024}},
    ),
    Case(
        "budget and effort: never both",
        {"thinking": {"type": "enabled", "budget_tokens": 9}, "output_config": {"effort": "low"}},
        {"reasoning": {"max_tokens": 9}},
    ),
    Case("adaptive", {"thinking": {"type": "adaptive"}}, {"reasoning": {"enabled": True}}),
    Case("between tools", {"thinking": {"type": "between_tools"}}, {"reasoning": {"enabled": True}}),
    Case(
        "adaptive with effort",
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        {"reasoning": {"effort": "max"}},
    ),
    Case("effort alone", {"output_config": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
    Case("no effort", {"output_config": {"effort": None, "task_budget": {"type": "tokens", "total": 1}}}),
    Case("disabled", {"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}),
    Case(
        "OpenRouter's own reasoning wins",
        {"thinking": {"type": "adaptive"}, "reasoning": {"effort": "minimal"}},
        {"reasoning": {"effort": "minimal"}},
    ),
    Case(
        "OpenRouter's own effort wins",
        {"thinking": {"type": "adaptive"}, "reasoning_effort": "minimal"},
        {"reasoning_effort": "minimal"},
    ),
    Case(
        "format",
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
        answer_format("answer", CLOSED, strict=True),
    ),
    Case(
        "format that is not strict",
        {"output_config": {"format": {"type": "json_schema", "schema": OPEN}}},
        answer_format("My_answer_", OPEN, strict=False),
    ),
    Case(
        "format that is no object",
        {"output_format": {"type": "json_schema", "schema": {"type": "array"}}},
        answer_format("answer", {"type": "array"}, strict=False),
    ),
    Case(
        "OpenAI's own format",
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_object"}},
    ),
    Case("a format that is none", {"response_format": "json"}),
    Case("no tools", {"tools": [], "tool_choice": {"type": "auto"}}),
    Case("a tool", {"tools": [tool()]}, {"tools": [function("Read")]}),
    Case(
        "a tool with everything",
        {
            "tools": [
                tool(
                    description="Reads.",
                    strict=True,
                    eager_input_streaming=True,
                    input_examples=[{"path": "/a"}],
                    cache_control=EPHEMERAL,
                    type="custom",
                )
            ]
        },
        {
            "tools": [
                function("Read", description='Reads.\n\nExamples of input: [{"path":"/a"}]', strict=True)
                | {"cache_control": EPHEMERAL}
            ],
            "messages": IN_PARTS,
        },
    ),
    Case(
        "schemas without a type, and with nulls",
        {"tools": [tool(schema={}), tool("b", {"type": "object", "properties": None, "required": None})]},
        {"tools": [function("Read"), function("b")]},
    ),
    Case(
        "a choice of a long name",
        {"tools": [tool(LONG)], "tool_choice": {"type": "tool", "name": LONG}},
        {"tools": [function(SHORT)], "tool_choice": {"type": "function", "function": {"name": SHORT}}},
    ),
    Case(
        "any, and one at a time",
        {"tools": [tool()], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {"tools": [function("Read")], "tool_choice": "required", "parallel_tool_calls": False},
    ),
    Case(
        "auto",
        {"tools": [tool()], "tool_choice": {"type": "auto", "disable_parallel_tool_use": False}},
        {"tools": [function("Read")], "tool_choice": "auto"},
    ),
    Case(
        "none",
        {"tools": [tool()], "tool_choice": {"type": "none"}},
        {"tools": [function("Read")], "tool_choice": "none"},
    ),
    Case("deferred and not loaded", {"tools": [tool("Later", defer_loading=True)]}),
    Case(
        "deferred and chosen",
        {"tools": [tool("Later", defer_loading=True)], "tool_choice": {"type": "tool", "name": "Later"}},
        {"tools": [function("Later")], "tool_choice": {"type": "function", "function": {"name": "Later"}}},
    ),
    Case(
        "deferred and not loaded, and left to the model",
        {"tools": [tool("Later", defer_loading=True)], "tool_choice": {"type": "auto"}},
    ),
    Case(
        "deferred and not loaded, beside web search",
        {"tools": [WEB, tool("Later", defer_loading=True)], "tool_choice": {"type": "any"}},
        {"plugins": [{"id": "web"}]},
    ),
    Case("web search", {"tools": [WEB]}, {"plugins": [{"id": "web"}]}),
    Case(
        "web search, demanded",
        {"tools": [WEB], "tool_choice": {"type": "tool", "name": "web_search"}},
        {"plugins": [{"id": "web"}]},
    ),
    Case("web search, forbidden", {"tools": [WEB], "tool_choice": {"type": "none"}}),
    Case(
        "web search and a tool, forbidden, but for the client's own plugin",
        {"tools": [WEB, tool()], "tool_choice": {"type": "none"}, "plugins": [{"id": "web"}]},
        {"tools": [function("Read")], "tool_choice": "none", "plugins": [{"id": "web"}]},
    ),
    Case(
        "web search beside a tool that is demanded",
        {"tools": [WEB, tool()], "tool_choice": {"type": "tool", "name": "Read"}},
        {
            "tools": [function("Read")],
            "tool_choice": {"type": "function", "function": {"name": "Read"}},
        },
    ),
    Case(
        "web search with everything, beside a tool and a plugin",
        {
            "tools": [
                WEB
                | {
                    "max_uses": 8,
                    "allowed_domains": ["a.com"],
                    "blocked_domains": None,
                    "user_location": {"type": "approximate", "city": "Bonn"},
                },
                tool(),
            ],
            "plugins": [{"id": "file-parser"}],
            "tool_choice": {"type": "tool", "name": "web_search"},
        },
        {
            "tools": [function("Read")],
            "plugins": [
                {"id": "file-parser"},
                {
                    "id": "web",
                    "max_uses": 8,
                    "include_domains": ["a.com"],
                    "user_location": {"type": "approximate", "city": "Bonn"},
                },
            ],
        },
    ),
    Case(
        "blocked domains",
        {"tools": [WEB | {"blocked_domains": ["b.com"]}]},
        {"plugins": [{"id": "web", "exclude_domains": ["b.com"]}]},
    ),
    Case("plugins", {"plugins": [{"id": "web"}]}, {"plugins": [{"id": "web"}]}),
    Case(
        "OpenRouter's own parameters",
        {name: SAMPLES[name] for name in OWN},
        {name: SAMPLES[name] for name in OWN},
    ),
    Case(
        "what has no meaning on a chat wire",
        {
            "context_management": {"edits": []},
            "safeguards": [{"type": "dangerous_tool_use"}],
            "diagnostics": {},
            "speed": "fast",
            "container": "c",
            "fallbacks": "default",
            "mcp_servers": [],
            "inference_geo": None,
            "billing_policy": {"type": "billing_policy"},
            "something_new": 1,
        },
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fields(case: Case) -> None:
    assert chat_of(**case.given) == BASE | USAGE | case.added


REFUSED = {
    "tool_choice": {"tools": [tool("Later", defer_loading=True)], "tool_choice": {"type": "any"}},
    "thinking.type": {"thinking": {"type": "sideways"}},
    "output_config.format.type": {"output_config": {"format": {"type": "grammar"}}},
    "tools.0": {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    "tools.1": {"tools": [tool(), {"type": "code_execution_20250825", "name": "code_execution"}]},
    "mcp_servers": {"mcp_servers": [{"name": "s", "url": "https://s"}]},
    "inference_geo": {"inference_geo": "eu"},
    "billing_policy.bill_to": {"billing_policy": {"bill_to": "user_profile"}},
    "compaction": {"compaction": {"type": "x"}},
    "thread": {"thread": {"type": "create"}},
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_has_no_chat_form_is_refused_with_its_path(path: str) -> None:
    with pytest.raises(UnsupportedContent) as caught:
        chat_of(**REFUSED[path])
    assert caught.value.message.startswith(f"{path}: ")


@pytest.mark.parametrize(
    "kind",
    [
        "text_editor_20250728",
        "computer_20251124",
        "memory_20250818",
        "web_fetch_20250910",
        "mcp_toolset",
        "new_2030",
    ],
)
def test_tools_of_anthropics_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedContent, match=rf"^tools\.0: '{kind}'"):
        chat_of(tools=[{"type": kind}])


def test_every_field_the_sdk_knows_has_a_fate() -> None:
    known = (
        message_create_params.MessageCreateParamsBase.__annotations__.keys()
        | beta_message_create_params.MessageCreateParamsBase.__annotations__.keys()
    )
    headers = {"betas"}
    assert known - headers - FATES.keys() == set()
    assert not OWN & FATES.keys()


def test_effort_of_a_system_message_has_the_last_word() -> None:
    told = [
        user("a"),
        system("n", output_config={"effort": "high"}),
        {"role": "system", "content": "m", "output_config": {"effort": None}},
        {"role": "system", "content": "o", "output_config": 5},
    ]
    assert chat_of(*told, output_config={"effort": "low"})["reasoning"] == {"effort": "high"}


LOADED = {
    "by a client's tool search": result("s", {"type": "tool_reference", "tool_name": "Later"}),
    "by a call": None,
}


@pytest.mark.parametrize("how", LOADED)
def test_a_deferred_tool_is_there_once_it_is_loaded(how: str) -> None:
    name = "Search" if LOADED[how] else "Later"
    said = [user("a"), assistant(call("s", name)), user(LOADED[how] or result("s", "x"))]
    tools = [tool("Search"), tool("Later", defer_loading=True), tool("Never", defer_loading=True)]
    assert [one["function"]["name"] for one in chat_of(*said, tools=tools)["tools"]] == ["Search", "Later"]


@pytest.mark.parametrize(
    "message",
    [
        system({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "Later"}}),
        assistant(
            {
                "type": "tool_search_tool_result",
                "tool_use_id": "s",
                "content": {"tool_references": [{"tool_name": "Later"}, {"tool_name": 5}, "odd"]},
            }
        ),
    ],
)
def test_a_deferred_tool_loaded_by_anthropics_servers_is_there(message: dict[str, Any]) -> None:
    chat = chat_of(user("a"), message, tools=[tool("Later", defer_loading=True)])
    assert [one["function"]["name"] for one in chat["tools"]] == ["Later"]


def test_a_tool_search_that_failed_loads_nothing() -> None:
    failed = {"type": "tool_search_tool_result", "tool_use_id": "s", "content": {"error_code": "unavailable"}}
    assert "tools" not in chat_of(user("a"), assistant(failed), tools=[tool("Later", defer_loading=True)])


def test_long_names_are_short_wherever_they_occur() -> None:
    reference = {"type": "tool_reference", "tool_name": LONG}
    body = request(user("a"), assistant(call("1", LONG)), user(result("1", reference)), tools=[tool(LONG)])
    chat, names = to_chat(body, model="m")
    assert chat["messages"][1]["tool_calls"][0]["function"]["name"] == SHORT
    assert chat["messages"][2]["content"] == f"[tool loaded: {SHORT}]"
    assert names.original(SHORT) == LONG


def marks(chat: dict[str, Any]) -> list[str]:
    """Give the texts that carry a cache breakpoint."""
    found = [part["function"]["name"] for part in chat.get("tools", ()) if "cache_control" in part]
    for message in chat["messages"]:
        if isinstance(message["content"], list):
            found += [part["text"] for part in message["content"] if "cache_control" in part]
    return found


def test_at_most_four_breakpoints_go_and_they_are_the_last() -> None:
    def mark(said: str) -> dict[str, Any]:
        return text(said, cache_control=EPHEMERAL)

    fields: dict[str, Any] = {"tools": [tool(cache_control=EPHEMERAL)], "system": [mark("s1"), mark("s2")]}
    assert marks(chat_of(user(mark("a")), **fields)) == ["Read", "s1", "s2", "a"]
    more = [user(mark("a"), mark("b")), assistant("c"), user(mark("d"))]
    assert marks(chat_of(*more, **fields)) == ["s2", "a", "b", "d"]
    assert len(marks(chat_of(*more, **fields))) == BREAKPOINTS
    automatic = chat_of(*more, **fields, cache_control=EPHEMERAL)
    assert (marks(automatic), automatic["cache_control"]) == (["a", "b", "d"], EPHEMERAL)


def test_the_breakpoint_of_a_tool_that_does_not_go_moves_to_the_one_before() -> None:
    search = WEB | {"cache_control": EPHEMERAL}
    assert marks(chat_of(user("a"), tools=[tool("a"), tool("b"), search])) == ["b"]
    assert marks(chat_of(user("a"), tools=[search])) == []


def test_tools_that_were_loaded_come_last_and_in_that_order() -> None:
    tools = [tool("Z", defer_loading=True), tool("A", defer_loading=True), tool("Read")]
    found = [{"type": "tool_reference", "tool_name": name} for name in "ZA"]
    loads = [assistant(call("1", "ToolSearch")), user(result("1", *found))]
    names = [one["function"]["name"] for one in chat_of(user("a"), *loads, tools=tools)["tools"]]
    assert names == ["Read", "Z", "A"]
    forced = chat_of(user("a"), tools=tools, tool_choice={"type": "tool", "name": "A"})["tools"]
    assert [one["function"]["name"] for one in forced] == ["Read", "A"]


@pytest.mark.parametrize(
    ("messages", "at"),
    [
        ([user("a"), assistant("b"), user("c")], (2, "c")),
        ([user("a"), assistant(call("1")), user(result("1", "r"))], (2, "r")),
        ([user("a"), assistant(call("1"))], (2, NO_RESULT)),
        ([user("a", text("b", cache_control={"type": "ephemeral", "ttl": "1h"}))], (0, "b")),
        ([user("a"), assistant(THOUGHT)], (0, "a")),
        ([assistant("")], None),
    ],
)
def test_the_automatic_breakpoint_goes_to_the_last_part_where_the_backend_knows_parts_only(
    messages: list[dict[str, Any]], at: tuple[int, str] | None
) -> None:
    body = request(*messages, cache_control=EPHEMERAL)
    chat, _ = to_chat(body, model="m", dialect=DATABRICKS_CLAUDE)
    assert "cache_control" not in chat
    found = [
        (place, part["text"])
        for place, message in enumerate(chat["messages"])
        for part in message["content"] or ()
        if isinstance(part, dict) and "cache_control" in part
    ]
    assert found == ([at] if at else [])


def test_tools_too_deep_are_refused_with_their_path() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    body = request(tools=[tool(input_examples=deep)])
    with pytest.raises(InvalidRequest, match=r"^tools\.0\.input_examples\.0\.0"):
        check_request(body)
    with pytest.raises(InvalidRequest, match=r"^tools\.0\.0"):
        to_chat(body, model="m")


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (OPEN, False),
        ({"type": "object", "additionalProperties": False}, True),
        ({"type": "object", "additionalProperties": False, "required": "a"}, True),
        (CLOSED | {"required": []}, False),
        ({"anyOf": [CLOSED, {"type": "string"}]}, True),
        ({"anyOf": [CLOSED, OPEN]}, False),
        ({"properties": {"a": True}}, False),
        (True, True),
    ],
)
def test_strictness(schema: Any, strict: bool) -> None:
    assert is_strict(schema) is strict


def test_a_schema_beyond_measure_is_not_strict() -> None:
    deep: Any = CLOSED
    for _ in range(200):
        deep = {"anyOf": [deep]}
    assert is_strict(deep) is False
