"""The two steps that put parameters into a request."""

from __future__ import annotations

import copy

import pytest

from tasks.backend import Route, Target
from tasks.exchange import Exchange
from tasks.inject_parameters import inject_openai_parameters, inject_openrouter_parameters
from tests.wire.requests import request
from wire.dialects import ANTHROPIC, DATABRICKS_CLAUDE, OPENAI, OPENROUTER
from wire.errors import InvalidRequest, UnsupportedContent
from wire.parameters import NO_PRESETS, Presets

PRESETS = Presets({"min_p": 0.3, "provider": {"zdr": True}}, {"seed": 3, "frequency_penalty": 0.3})
PLACES = {
    "openrouter chat": ("chat", OPENROUTER, {"min_p", "provider", "seed", "frequency_penalty"}),
    "openrouter messages": ("messages", OPENROUTER, {"provider"}),
    "anthropic": ("messages", ANTHROPIC, set()),
    "databricks": ("chat", DATABRICKS_CLAUDE, set()),
    "openai": ("chat", OPENAI, {"min_p", "seed", "frequency_penalty"}),
}


def injected(body, place="openrouter chat", headers=None, presets=NO_PRESETS):
    wire, dialect, _ = PLACES[place]
    route = Route(Target("asked", "anthropic/claude-sonnet-4", wire, "KEY", place, dialect), backend=None)
    exchange = Exchange("req", headers or {}, b"", body=body)
    before = copy.deepcopy(body)
    out = inject_openrouter_parameters.fn(body, route, exchange, presets)
    out = inject_openai_parameters.fn(out, route, exchange, presets)
    assert body == before
    return out, [name for names in exchange.left_out.values() for name in names]


@pytest.mark.parametrize("place", PLACES)
def test_the_environment_s_go_where_they_are_taken(place):
    given = PRESETS.openrouter | PRESETS.openai
    out, left_out = injected(request(), place, presets=PRESETS)
    assert out == request(**{name: given[name] for name in PLACES[place][2]})
    assert left_out == []


@pytest.mark.parametrize("place", PLACES)
def test_the_client_s_go_where_they_are_taken_or_are_named(place):
    written = {"min_p": 0.1, "seed": 1, "frequency_penalty": 0.1}
    out, left_out = injected(request(**written), place, presets=PRESETS)
    taken = PLACES[place][2]
    assert {name: out.get(name) for name in written} == {
        name: value if name in taken else None for name, value in written.items()
    }
    assert set(left_out) == written.keys() - taken


def test_headers_are_the_client_s_word():
    headers = {"x-openrouter-min-p": "0.2", "x-openai-seed": "2", "x-openrouter-metadata": "enabled"}
    out, _ = injected(request(min_p=0.1), "openrouter chat", headers, PRESETS)
    assert out == request(min_p=0.1, seed=2, provider={"zdr": True}, frequency_penalty=0.3)
    assert injected(request(), "anthropic", headers) == (request(), ["min_p", "seed"])


def test_a_wrong_header_is_refused():
    with pytest.raises(
        InvalidRequest, match=r"^min_p: must be between 0 and 1 \(header x-openrouter-min-p\)$"
    ):
        injected(request(), headers={"x-openrouter-min-p": "4"})


def test_a_promise_is_not_broken_elsewhere():
    with pytest.raises(
        UnsupportedContent, match=r"^provider\.zdr: the backend \(anthropic\) does not take it"
    ):
        injected(request(provider={"zdr": True}), "anthropic")


def test_nothing_to_do_is_nothing_done():
    body = request(tools=[], metadata={"user_id": "u"})
    for place in PLACES:
        assert injected(body, place, {"anthropic-beta": "x"})[0] is body


def test_what_another_route_left_out_is_forgotten():
    exchange = Exchange("req", {}, b"")
    routes = [
        Route(Target("asked", "m", "messages", "KEY", "b", ANTHROPIC), backend=None),
        Route(Target("asked", "m", "chat", "KEY", "b", OPENROUTER), backend=None),
    ]
    for route, names in zip(routes, [("min_p",), ()], strict=True):
        inject_openrouter_parameters.fn(request(min_p=0.1), route, exchange, NO_PRESETS)
        assert exchange.left_out == {"openrouter": names}
    inject_openrouter_parameters.fn(request(), routes[0], exchange, NO_PRESETS)
    assert exchange.left_out == {}
