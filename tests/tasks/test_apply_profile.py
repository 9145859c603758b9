"""Profiles, and HEADGATE_THINKING: when they speak, and when they keep silent."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.apply_profile import DEFAULT_PROFILES, NO_PROFILES, Profile, Profiles, apply_profile
from tasks.backend import Route, Target
from tests.wire.requests import assistant, call, request, result, user
from wire.dialects import DATABRICKS_CLAUDE, OPENROUTER

ADAPTIVE = {"type": "adaptive"}
ROOM = {"max_tokens": 10_000}
HIGH = {"thinking": {"type": "enabled", "budget_tokens": 8000}}
LOW = {"thinking": {"type": "enabled", "budget_tokens": 2000}}


def route(model: str = "anthropic/claude-sonnet-4", wire: Any = "messages", dialect: Any = OPENROUTER) -> Any:
    return Route(Target("asked", model, wire, "KEY", "backend", dialect), backend=None)


def applied(body: Any, to: Any = None, thinking: Any = "auto", profiles: Any = None) -> Any:
    return apply_profile.fn(body, to or route(), Profiles(profiles or DEFAULT_PROFILES, thinking))


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("anthropic/claude-sonnet-4", "high"),
        ("claude-sonnet-4-20250514", "high"),
        ("databricks-claude-sonnet-4", "high"),
        ("anthropic/claude-3.7-sonnet:thinking", "medium"),
        ("databricks-claude-3-7-sonnet", "medium"),
        ("anthropic/claude-sonnet-4.5", None),
        ("openai/gpt-5", None),
    ],
)
def test_the_built_in_profiles(model, effort):
    assert Profiles(DEFAULT_PROFILES).of(model).effort == effort


def test_patterns_and_memory():
    profiles = Profiles(
        {
            "claude-opus-4*": Profile("low"),
            "openai/*": Profile(tool_timeout=3),
            "claude-3-7-sonnet": Profile(),
        }
    )
    assert profiles.of("anthropic/claude-opus-4.6") is profiles.of("anthropic/claude-opus-4.6")
    assert profiles.of("claude-opus-4-1-20250805") == Profile("low")
    assert profiles.of("openai/gpt-5") == Profile(tool_timeout=3)
    assert profiles.of("x/y") == Profile()
    for number in range(1100):
        assert profiles.of(f"openai/{number}").tool_timeout == 3


@pytest.mark.parametrize(
    ("change", "gives"),
    [
        (ROOM, ROOM | HIGH),
        ({"max_tokens": 4000}, None),
        (ROOM | {"temperature": 0.5}, None),
        (ROOM | {"thinking": {"type": "disabled"}}, None),
        (ROOM | LOW, None),
        (ROOM | {"output_config": {"effort": "low"}}, None),
        (ROOM | {"reasoning": {"effort": "low"}}, None),
        (ROOM | {"thinking": ADAPTIVE}, ROOM | HIGH),
        (ROOM | {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}, ROOM | LOW),
        ({"max_tokens": 1000, "thinking": ADAPTIVE}, None),
    ],
)
def test_a_profile_speaks_where_the_client_did_not(change, gives):
    body = request(**change)
    out = applied(body)
    assert (out is body) if gives is None else (out == request(**gives))


@pytest.mark.parametrize(
    ("to", "gives"),
    [
        (route(wire="chat"), {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
        (route("databricks-claude-sonnet-4", "chat", DATABRICKS_CLAUDE), HIGH),
        (route("databricks-claude-sonnet-4", "messages", DATABRICKS_CLAUDE), HIGH),
    ],
)
def test_each_backend_is_told_in_its_words(to, gives):
    assert applied(request(**ROOM), to) == request(**ROOM, **gives)
    assert applied(request(**ROOM, thinking=ADAPTIVE), to) == request(**ROOM, **gives)


def test_what_matches_no_profile_passes_as_it_is():
    for body in (request(), request(**ROOM), request(**ROOM, thinking=ADAPTIVE), request(**LOW)):
        assert applied(body, route("anthropic/claude-opus-4.6")) is body
        assert applied(body, route("openai/gpt-5", "chat")) is body


def test_models_that_know_budgets_only_are_told_one():
    effort = {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}
    assert applied(request(**ROOM, **effort), route("claude-sonnet-4-5")) == request(**ROOM, **LOW)
    medium = {"thinking": {"type": "enabled", "budget_tokens": 5000}}
    assert applied(request(**ROOM, thinking=ADAPTIVE), route("claude-sonnet-4-5")) == request(
        **ROOM, **medium
    )


def test_effort_where_it_is_open_on_newer_models():
    profiles = {"claude-opus-4.6": Profile("max")}
    opus = route("claude-opus-4-6")
    told = {"thinking": ADAPTIVE, "output_config": {"effort": "max"}}
    assert applied(request(thinking=ADAPTIVE), opus, profiles=profiles) == request(**told)
    said = request(thinking=ADAPTIVE, output_config={"effort": "low"})
    assert applied(said, opus, profiles=profiles) is said


@pytest.mark.parametrize(
    ("model", "change", "gives"),
    [
        ("anthropic/claude-sonnet-4", ROOM | {"thinking": {"type": "disabled"}}, ROOM | HIGH),
        ("anthropic/claude-sonnet-4", ROOM | LOW, ROOM | LOW),
        ("anthropic/claude-sonnet-4", ROOM | {"temperature": 1}, ROOM | {"temperature": 1}),
        (
            "anthropic/claude-opus-4.6",
            ROOM,
            ROOM | {"thinking": ADAPTIVE, "output_config": {"effort": "medium"}},
        ),
        (
            "anthropic/claude-opus-4.6",
            ROOM | {"output_config": {"effort": "max"}},
            ROOM | {"thinking": ADAPTIVE, "output_config": {"effort": "max"}},
        ),
        ("anthropic/claude-3.5-haiku", ROOM, ROOM),
    ],
)
def test_thinking_is_forced_where_it_can_be(model, change, gives):
    assert applied(request(**change), route(model), "on") == request(**gives)


def test_thinking_is_forbidden():
    body = request(**ROOM, thinking=ADAPTIVE, reasoning_effort="high", output_config={"effort": "max"})
    assert applied(body, thinking="off") == request(**ROOM, thinking={"type": "disabled"})


def test_the_patience_after_tool_results():
    asks, brings = [user("hi")], [user("hi"), assistant(call("1")), user(result("1"))]
    profiles = Profiles(DEFAULT_PROFILES)
    assert profiles.first_event(request(*brings), route().target) == 30.0
    assert profiles.first_event(request(*brings), route("anthropic/claude-3.7-sonnet").target) == 25.0
    assert profiles.first_event(request(*asks), route().target) is None
    assert NO_PROFILES.first_event(request(*brings), route().target) is None
