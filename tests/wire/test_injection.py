"""Parameters on their way into a request: who wins, what goes, what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.requests import request
from wire.errors import UnsupportedContent
from wire.injection import Injection
from wire.parameters import OPENAI, OPENROUTER, PARAMETERS

ALL = frozenset(PARAMETERS)
NONE: frozenset[str] = frozenset()
ROUTING = {"zdr": True}


def injected(
    body: dict[str, Any],
    asked: dict[str, Any] | None = None,
    preset: dict[str, Any] | None = None,
    *,
    taken: frozenset[str] = ALL,
    api: Any = OPENROUTER,
    model: str = "anthropic/claude-sonnet-4",
) -> tuple[dict[str, Any], list[str]]:
    before = copy.deepcopy(body)
    injection = Injection(body, model=model, taken=taken, backend="other")
    out = injection.inject(api, asked or {}, preset or {})
    assert body == before
    return out, injection.left_out


def test_body_then_header_then_environment() -> None:
    body = request(min_p=0.1)
    asked = {"min_p": 0.2, "top_a": 0.2}
    preset = {"min_p": 0.3, "top_a": 0.3, "repetition_penalty": 1.3}
    assert injected(body, asked, preset) == (
        body | {"top_a": 0.2, "repetition_penalty": 1.3},
        [],
    )


def test_a_null_in_the_body_is_a_word() -> None:
    assert injected(request(min_p=None), {}, {"min_p": 0.3}) == (request(min_p=None), [])
    assert injected(request(min_p=None), {}, {"min_p": 0.3}, taken=NONE) == (request(), [])


@pytest.mark.parametrize("name", ["min_p", "top_a", "models", "transforms", "trace"])
def test_what_a_backend_does_not_take(name: str) -> None:
    assert injected(request(**{name: [1]}), taken=NONE) == (request(), [name])
    assert injected(request(), {name: [1]}, taken=NONE) == (request(), [name])
    assert injected(request(), {}, {name: [1]}, taken=NONE) == (request(), [])


@pytest.mark.parametrize(
    ("name", "path", "api"),
    [("provider", "provider.zdr", OPENROUTER), ("logit_bias", "logit_bias", OPENAI)],
)
def test_what_cannot_be_done_without(name: str, path: str, api: Any) -> None:
    refusal = rf"^{path}: the backend \(other\) does not take it$"
    with pytest.raises(UnsupportedContent, match=refusal):
        injected(request(**{name: ROUTING}), taken=NONE, api=api)
    with pytest.raises(UnsupportedContent, match=refusal):
        injected(request(), {name: ROUTING}, taken=NONE, api=api)
    assert injected(request(), {}, {name: ROUTING}, taken=NONE, api=api) == (request(), [])


@pytest.mark.parametrize(
    "provider", [{"sort": "price"}, {"zdr": False, "only": []}, {"data_collection": "allow", "order": ["x"]}]
)
def test_a_wish_is_no_promise(provider: dict[str, Any]) -> None:
    assert injected(request(provider=provider), taken=NONE) == (request(), ["provider"])


@pytest.mark.parametrize(
    ("temperature", "bounds", "clamped"),
    [(0.1, [0.3, 0.6], 0.3), (0.9, [0.3, 0.6], 0.6), (0.5, [0.3, 0.6], 0.5), (1, [0, 0], 0)],
)
@pytest.mark.parametrize("source", ["body", "header", "environment"])
def test_a_temperature_is_moved_into_its_range(
    temperature: float, bounds: list[float], clamped: float, source: str
) -> None:
    spoken = {"temperature_range": bounds}
    body = request(temperature=temperature)
    if source == "body":
        out = injected(body | spoken, taken=NONE)
    elif source == "header":
        out = injected(body, spoken, taken=NONE)
    else:
        out = injected(body, {}, spoken, taken=NONE)
    assert out == (body | {"temperature": clamped}, [])


def test_a_range_without_a_temperature_sets_none() -> None:
    assert injected(request(temperature_range=[0.1, 0.2])) == (request(), [])


def test_sampling_is_left_alone_where_the_request_thinks() -> None:
    body = request(thinking={"type": "adaptive"}, temperature=1)
    assert injected(body, {}, {"top_k": 5, "temperature_range": [0, 0.5]}) == (body, [])
    assert injected(body, {"top_k": 5}) == (body | {"top_k": 5}, [])


@pytest.mark.parametrize("source", ["body", "header", "environment"])
def test_a_user_has_one_place(source: str) -> None:
    spoken = {"user": "u1"}
    body, asked, preset = request(metadata={"x": 1}), {}, {}
    if source == "body":
        body |= spoken
    elif source == "header":
        asked = spoken
    else:
        preset = spoken
    assert injected(body, asked, preset, api=OPENAI) == (request(metadata={"x": 1, "user_id": "u1"}), [])
    named = body | {"metadata": {"user_id": "u0"}}
    assert injected(named, asked, preset, api=OPENAI) == (request(metadata={"user_id": "u0"}), [])


ROOM = {"max_tokens": 10_000}
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 8000}}
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = [
    ("body", {"reasoning": {"effort": "high"}}, {}, {}, BUDGET, []),
    ("header", {}, {"reasoning": {"effort": "high"}}, {}, BUDGET, []),
    ("environment", {}, {}, {"reasoning": {"effort": "high"}}, BUDGET, []),
    ("a header beside thinking", BUDGET, {"reasoning": {"effort": "low"}}, {}, BUDGET, []),
    ("beside thinking", BUDGET | {"reasoning": {"effort": "low"}}, {}, {}, BUDGET, ["reasoning"]),
    ("nothing to say", {}, {"reasoning": {"exclude": True}}, {}, {}, ["reasoning"]),
    ("the client spoke", BUDGET, {}, {"reasoning": {"effort": "low"}}, BUDGET, []),
    ("unsafe", {"temperature": 1}, {}, {"reasoning": {"effort": "low"}}, {"temperature": 1}, []),
]


@pytest.mark.parametrize(
    ("change", "asked", "preset", "gives", "left_out"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_reasoning_where_only_thinking_is_known(
    change: Any, asked: Any, preset: Any, gives: Any, left_out: Any
) -> None:
    got = injected(request(**(ROOM | change)), asked, preset, taken=NONE)
    assert got == (request(**(ROOM | gives)), left_out)


def test_reasoning_effort_likewise() -> None:
    body = request(**ROOM, reasoning_effort="high")
    assert injected(body, api=OPENAI, taken=NONE) == (request(**ROOM, **BUDGET), [])


def test_reasoning_where_it_is_taken() -> None:
    asked = {"reasoning": {"effort": "low"}}
    assert injected(request(), asked) == (request(**asked), [])
    assert injected(request(), {}, asked) == (request(**asked), [])
    assert injected(request(**BUDGET), {}, asked) == (request(**BUDGET), [])
    assert injected(request(**BUDGET), asked) == (request(**BUDGET), [])


@given(
    st.dictionaries(st.sampled_from(sorted(OPENROUTER.names - {"provider", "reasoning"})), st.just([0, 1])),
    st.dictionaries(st.sampled_from(sorted(OPENROUTER.names - {"provider", "reasoning"})), st.just([0.5, 2])),
    st.sets(st.sampled_from(sorted(OPENROUTER.names))).map(frozenset),
)
def test_every_parameter_of_the_client_is_sent_named_or_refused(
    written: dict[str, Any], asked: dict[str, Any], taken: frozenset[str]
) -> None:
    try:
        out, left_out = injected(request(**written), asked, taken=taken)
    except UnsupportedContent:
        return
    for name in (written.keys() | asked.keys()) - {"temperature_range"}:
        assert (name in out) != (name in left_out)
        assert (name in out) == (name in taken)
        if name in out:
            assert out[name] == (written[name] if name in written else asked[name])
