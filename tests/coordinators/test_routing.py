"""Which backend a name means: prefixes, routes, aliases, fallbacks."""

from __future__ import annotations

import pytest

from coordinators.anthropic import Anthropic
from coordinators.databricks import Databricks
from coordinators.http_upstream import HttpUpstream
from coordinators.lanes import BackendLanes
from coordinators.openai_compatible import OpenAICompatible
from coordinators.openrouter import OpenRouter
from coordinators.routing import RoutingTable
from wire.dialects import OPENAI, OPENAI_PLATFORM
from wire.errors import NotFound

PREFIXES = ("openrouter", "litellm", "databricks", "anthropic", "openai_compatible")


def table(default="openrouter", wire="auto", **more):
    http = HttpUpstream()
    made = [
        OpenRouter(http, base_url="https://or/api/v1/", api_key="k"),
        Databricks(http, host="adb-1.example.net", token="t", models={"a": "team-a", "b": "c"}, wire=wire),
        OpenAICompatible(http, base_url="http://local/v1"),
    ]
    lanes = [BackendLanes([(backend, 1)]) for backend in made]
    lanes.sort(key=lambda one: one.name != default)
    return RoutingTable(lanes, prefixes=PREFIXES, **more)


def told(routes):
    return [f"{route.target.backend}:{route.target.model}" for route in routes]


ALIASES = {"big": "anthropic/claude-sonnet-4", "there": "databricks:team-x"}
TABLE = {
    "fast": "openai_compatible:llama3:8b",
    "claude-3*": "databricks",
    "claude-*": "openrouter",
    "big": "databricks",
}


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("fast", "openai_compatible:llama3:8b"),
        ("fast[1m]", "openai_compatible:llama3:8b"),
        ("claude-3-7-sonnet-20250219", "databricks:databricks-claude-3-7-sonnet"),
        ("claude-opus-4-6[1m]", "openrouter:anthropic/claude-opus-4.6"),
        ("big", "databricks:databricks-claude-sonnet-4"),
        ("openrouter:big", "openrouter:anthropic/claude-sonnet-4"),
        ("there", "databricks:team-x"),
        ("databricks:a", "databricks:team-a"),
        ("openai/gpt-5:floor", "openrouter:openai/gpt-5:floor"),
    ],
)
def test_where_a_name_leads(asked, given):
    routes = table(aliases=ALIASES, routes=TABLE).routes(asked)
    assert told(routes) == [given]
    assert routes[0].target.asked == asked


def test_routes_are_remembered():
    one = table()
    assert one.routes("openai/gpt-5") is one.routes("openai/gpt-5")


def test_fallbacks_in_order_each_once():
    one = table(
        aliases=ALIASES,
        fallbacks={"big": ["anthropic/claude-sonnet-4", "databricks:claude-sonnet-4", "there"], "*": ["x/y"]},
    )
    assert told(one.routes("big")) == [
        "openrouter:anthropic/claude-sonnet-4", "databricks:databricks-claude-sonnet-4", "databricks:team-x",
    ]  # fmt: skip
    assert {route.target.asked for route in one.routes("big")} == {"big"}
    assert told(one.routes("openai/gpt-5")) == ["openrouter:openai/gpt-5", "openrouter:x/y"]


@pytest.mark.parametrize("default", ["databricks", "openai_compatible"])
def test_another_default_takes_bare_names(default):
    (route,) = table(default).routes("some-endpoint")
    assert route.target.backend == default
    assert route.target.model == "some-endpoint"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"routes": {"x": "nowhere:y"}}, "'nowhere' is no backend"),
        ({"routes": {"x": "anthropic"}}, "no key or address"),
        ({"routes": {"x": "databricks:a/b"}}, "'a/b'"),
        ({"fallbacks": {"x": ["litellm:a/b"]}}, "'litellm' has no key or address"),
        ({"fallbacks": {"x": ["nonsense"]}}, "'nonsense'"),
    ],
)
def test_what_leads_nowhere_is_found_at_the_start(more, told):
    with pytest.raises(NotFound, match=told):
        table(**more).check()


def test_what_leads_somewhere_is_fine():
    table(aliases=ALIASES, routes=TABLE, fallbacks={"x": ["there", "fast"]}).check()


@pytest.mark.parametrize(
    ("wire", "model", "given"),
    [
        ("auto", "claude-sonnet-4", "messages"),
        ("auto", "gpt-oss", "chat"),
        ("auto", "b", "chat"),
        ("chat", "claude-sonnet-4", "chat"),
        ("messages", "team-claude", "messages"),
    ],
)
def test_databricks_wires(wire, model, given):
    assert table(wire=wire).target(f"databricks:{model}").wire == given


def test_what_compatible_servers_are():
    http = HttpUpstream()
    openai = OpenAICompatible(http, base_url="https://api.openai.com/v1", api_key="k").target("gpt-5")
    local = OpenAICompatible(http, base_url="http://localhost:8000/v1").target("qwen[1m]")
    assert (openai.dialect, local.dialect) == (OPENAI_PLATFORM, OPENAI)
    assert local.model == "qwen"


def test_only_anthropic_counts():
    one = Anthropic(HttpUpstream(), base_url="https://api", api_key="k")
    assert one.target("claude-opus-4-6").counts
    assert not table().target("openai/gpt-5").counts
