"""Who can be asked to think, and how it is said."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.requests import assistant, call, request, result, system, user
from wire.thinking import (
    SMALLEST_BUDGET,
    brings_results,
    effort_of,
    from_reasoning,
    is_silent,
    kind_of,
    may_think,
    with_budget,
    with_effort,
    without_thinking,
)

THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("anthropic/claude-3.5-haiku", "none"),
        ("claude-3-opus-20240229", "none"),
        ("anthropic/claude-3.7-sonnet", "budget"),
        ("anthropic/claude-3.7-sonnet:thinking", "budget"),
        ("databricks-claude-3-7-sonnet", "budget"),
        ("anthropic/claude-sonnet-4", "budget"),
        ("claude-sonnet-4-20250514", "budget"),
        ("claude-opus-4-1-20250805", "budget"),
        ("databricks-claude-sonnet-4-5", "budget"),
        ("anthropic/claude-opus-4.6", "effort"),
        ("claude-opus-4-7", "effort"),
        ("claude-sonnet-5", "effort"),
        ("claude-instant", "effort"),
        ("openai/gpt-5", "foreign"),
    ],
)
def test_kinds(model: str, kind: str) -> None:
    assert kind_of(model) == kind


ROOMY = {"max_tokens": 4096}
SAFE: list[tuple[str, list[Any], dict[str, Any], bool]] = [
    ("a plain question", [user("hi")], {}, True),
    ("too little room", [user("hi")], {"max_tokens": 4095}, False),
    ("a forced tool", [user("hi")], {"tool_choice": {"type": "tool", "name": "Read"}}, False),
    ("any tool", [user("hi")], {"tool_choice": {"type": "any"}}, False),
    ("a free choice", [user("hi")], {"tool_choice": {"type": "auto"}}, True),
    ("temperature", [user("hi")], {"temperature": 1}, False),
    ("top_p", [user("hi")], {"top_p": 0.9}, False),
    ("top_k", [user("hi")], {"top_k": 4}, False),
    ("a prefill", [user("hi"), assistant("Sure,")], {}, False),
    ("a prefill before a system message", [user("hi"), assistant("Sure,"), system("s")], {}, False),
    ("calls without thinking", [user("hi"), assistant("x", call("1")), user(result("1"))], {}, False),
    (
        "calls without thinking, and a system message",
        [user("hi"), assistant("x", call("1")), user(result("1")), system("s")],
        {},
        False,
    ),
    ("calls after thinking", [user("hi"), assistant(THOUGHT, call("1")), user(result("1"))], {}, True),
    ("a text answer before", [user("hi"), assistant("Hello."), user("more")], {}, True),
    ("text blocks before", [user("hi"), assistant("Hello.", "You."), user("more")], {}, True),
]


@pytest.mark.parametrize(
    ("messages", "change", "safe"), [case[1:] for case in SAFE], ids=[case[0] for case in SAFE]
)
def test_who_may_think(messages: list[Any], change: dict[str, Any], safe: bool) -> None:
    body = request(*messages, **(ROOMY | change))
    assert may_think(body, "budget") == may_think(body, "effort") == safe
    assert may_think(body, "foreign") == (body["max_tokens"] >= 4096)
    assert not may_think(body, "none")


@pytest.mark.parametrize(
    ("change", "silent"),
    [
        ({}, True),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, True),
        ({"output_config": {"effort": "low"}}, False),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning_effort": "low"}, False),
    ],
)
def test_silence(change: dict[str, Any], silent: bool) -> None:
    assert is_silent(request(**change)) == silent


def test_a_later_message_may_have_the_last_word_about_effort() -> None:
    said = [system("s", output_config={"effort": "max"}), user("hi"), system("t", output_config={})]
    assert effort_of(request(*said, output_config={"effort": "low"})) == "max"
    assert not is_silent(request(*said))


@pytest.mark.parametrize(
    ("messages", "brings"),
    [
        ([user("hi")], False),
        ([user("hi"), assistant(call("1")), user(result("1"), "go on")], True),
        ([user("hi"), assistant(call("1")), user(result("1")), system("s")], True),
        ([user("hi"), assistant(call("1")), user(result("1")), assistant("x"), user("y", "z")], False),
    ],
)
def test_turns_that_bring_results(messages: list[Any], brings: bool) -> None:
    assert brings_results(request(*messages)) == brings


@pytest.mark.parametrize(
    ("kind", "effort", "max_tokens", "thinking", "config"),
    [
        ("budget", "high", 10_000, {"type": "enabled", "budget_tokens": 8000}, None),
        ("budget", "medium", 10_000, {"type": "enabled", "budget_tokens": 5000}, None),
        ("budget", "low", 10_000, {"type": "enabled", "budget_tokens": 2000}, None),
        ("budget", "low", 4096, {"type": "enabled", "budget_tokens": 1024}, None),
        ("budget", "max", 1030, {"type": "enabled", "budget_tokens": 1024}, None),
        ("budget", "high", 1024, None, None),
        ("effort", "high", 10_000, ADAPTIVE, {"effort": "high"}),
        ("effort", "minimal", 10_000, ADAPTIVE, {"effort": "low"}),
        ("foreign", "xhigh", 10_000, ADAPTIVE, {"effort": "xhigh"}),
        ("none", "high", 10_000, None, None),
    ],
)
def test_efforts(kind: Any, effort: str, max_tokens: int, thinking: Any, config: Any) -> None:
    body = request(max_tokens=max_tokens)
    before = copy.deepcopy(body)
    out = with_effort(body, effort, kind)
    assert (out.get("thinking"), out.get("output_config")) == (thinking, config)
    assert body == before


def test_what_the_client_said_beside_effort_stays() -> None:
    shown = {"type": "adaptive", "display": "omitted"}
    body = request(thinking=shown, output_config={"format": {"type": "x"}}, max_tokens=5000)
    assert with_effort(body, "high", "effort")["thinking"] == shown
    assert with_effort(body, "high", "effort")["output_config"] == {"format": {"type": "x"}, "effort": "high"}
    assert with_effort(body, "high", "budget")["thinking"] == {
        "type": "enabled", "budget_tokens": 4000, "display": "omitted",
    }  # fmt: skip


@given(st.integers(0, 300_000), st.integers(1, 200_000))
def test_a_budget_is_one_that_anthropic_takes_or_none(tokens: int, limit: int) -> None:
    body = request(max_tokens=limit)
    out = with_budget(body, tokens)
    if out is body:
        assert limit <= SMALLEST_BUDGET
    else:
        assert SMALLEST_BUDGET <= out["thinking"]["budget_tokens"] < limit


REASONING: list[tuple[dict[str, Any], Any, Any, Any]] = [
    ({"effort": "high"}, "budget", {"type": "enabled", "budget_tokens": 8000}, None),
    ({"effort": "high"}, "effort", ADAPTIVE, {"effort": "high"}),
    ({"effort": "none"}, "effort", {"type": "disabled"}, None),
    ({"enabled": False}, "budget", {"type": "disabled"}, None),
    ({"enabled": True}, "effort", ADAPTIVE, None),
    ({"enabled": True}, "budget", {"type": "enabled", "budget_tokens": 5000}, None),
    ({"max_tokens": 3000}, "budget", {"type": "enabled", "budget_tokens": 3000}, None),
    ({"max_tokens": 1000}, "effort", ADAPTIVE, {"effort": "low"}),
    ({"max_tokens": 4000}, "effort", ADAPTIVE, {"effort": "medium"}),
    ({"max_tokens": 9000}, "foreign", ADAPTIVE, {"effort": "high"}),
    ({"effort": "low", "exclude": True}, "effort", {**ADAPTIVE, "display": "omitted"}, {"effort": "low"}),
    ({"exclude": True}, "effort", None, None),
    ({"effort": "high"}, "none", None, None),
]


@pytest.mark.parametrize(("reasoning", "kind", "thinking", "config"), REASONING)
def test_reasoning_in_anthropics_words(reasoning: Any, kind: Any, thinking: Any, config: Any) -> None:
    out = from_reasoning(request(max_tokens=10_000), reasoning, kind)
    assert (out.get("thinking"), out.get("output_config")) == (thinking, config)


def test_a_budget_without_room_shows_nothing() -> None:
    body = request(max_tokens=500)
    assert from_reasoning(body, {"max_tokens": 2000, "exclude": True}, "budget") is body


def test_without_thinking() -> None:
    clear, keep = {"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}
    body = request(
        user("hi"),
        assistant(THOUGHT, "Hello."),
        system("s", output_config={"effort": "high"}),
        {"role": "system", "output_config": {"effort": "high"}},
        user("more"),
        thinking=ADAPTIVE,
        reasoning={"effort": "high"},
        reasoning_effort="high",
        output_config={"effort": "high", "format": {"type": "x"}},
        context_management={"edits": [clear, keep, "odd"]},
    )
    before = copy.deepcopy(body)
    assert without_thinking(body) == request(
        user("hi"),
        assistant(THOUGHT, "Hello."),
        system("s"),
        user("more"),
        thinking={"type": "disabled"},
        output_config={"format": {"type": "x"}},
        context_management={"edits": [keep, "odd"]},
    )
    assert body == before


def test_without_thinking_messages_that_say_little_stay() -> None:
    said = {"role": "system", "output_config": {"effort": "low"}}
    out = without_thinking(request(user("a"), assistant(""), said, user("b")))
    assert out["messages"] == request(user("a"), assistant(""), user("b"))["messages"]


@pytest.mark.parametrize("odd", ["x", [1], 3])
def test_without_thinking_what_is_no_context_management_stays(odd: Any) -> None:
    assert without_thinking(request(user("a"), context_management=odd))["context_management"] == odd


def test_without_thinking_where_there_was_none() -> None:
    body = request(context_management={"edits": [{"type": "x"}]}, output_config={"effort": "low"})
    out = without_thinking(body)
    assert out == request(context_management={"edits": [{"type": "x"}]}, thinking={"type": "disabled"})
    assert out["messages"] is body["messages"]
    assert without_thinking(request()) == request(thinking={"type": "disabled"})
