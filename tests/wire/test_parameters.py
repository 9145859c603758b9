"""The parameters' rules, and the three places they come from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.requests import request
from wire.check import check_request
from wire.errors import InvalidRequest
from wire.parameters import OPENAI, OPENROUTER, PARAMETERS
from wire.sources import from_environment, from_headers

GOOD: dict[str, list[Any]] = {
    "min_p": [0, 1, 0.05],
    "top_a": [0, 0.2],
    "top_k": [0, 40],
    "repetition_penalty": [0, 1.1, 2],
    "temperature_range": [[0, 2], [0.3, 0.3]],
    "provider": [
        {},
        {"order": ["anthropic", "amazon-bedrock"], "allow_fallbacks": False, "require_parameters": True},
        {"data_collection": "deny", "zdr": True, "enforce_distillable_text": True},
        {"only": ["openai"], "ignore": [], "quantizations": ["fp8", "bf16"], "sort": "price"},
        {"sort": {"by": "latency", "partition": "none"}, "max_price": {"prompt": 1, "completion": "2.5"}},
        {"preferred_min_throughput": 50, "preferred_max_latency": {"p90": 3}, "order": None},
        {"new_field": {"passes": 1}, "options": {"openai": {"a": 1}}},
    ],
    "transforms": [[], ["middle-out"]],
    "models": [["openai/gpt-5", "anthropic/claude-sonnet-4"]],
    "route": ["fallback"],
    "plugins": [[{"id": "web", "max_results": 3}]],
    "reasoning": [{"effort": "high"}, {"max_tokens": 2000, "exclude": True}, {"enabled": False}],
    "session_id": ["s" * 256],
    "trace": [{"trace_id": "t", "anything": 1}],
    "frequency_penalty": [-2, 2, 0.5],
    "presence_penalty": [-2, 2],
    "seed": [0, -5, 2**62],
    "user": ["somebody"],
    "logit_bias": [{}, {"50256": -100, "12": 5.5}],
    "top_logprobs": [0, 20],
    "verbosity": ["low"],
}

BAD: list[tuple[str, Any, str]] = [
    ("min_p", 2, "min_p: must be between 0 and 1"),
    ("min_p", -0.1, "min_p: must be between 0 and 1"),
    ("min_p", True, "min_p: must be a number, not a boolean"),
    ("min_p", "0.1", "min_p: must be a number"),
    ("top_a", 1.1, "top_a: must be between"),
    ("top_k", 1.5, "top_k: must be an integer"),
    ("repetition_penalty", 2.1, "repetition_penalty: must be between 0 and 2"),
    ("temperature_range", [1], "temperature_range: must be two numbers"),
    ("temperature_range", [1, 0.5], "temperature_range: must be two numbers, the lower one first"),
    ("temperature_range", [0, 3], "temperature_range.1: must be between 0 and 2"),
    ("temperature_range", 1, "temperature_range: must be a pair of numbers"),
    ("provider", [], "provider: must be an object"),
    ("provider", {"sort": "fastest"}, "provider.sort: must be one of price, throughput"),
    ("provider", {"sort": {"by": "size"}}, "provider.sort.by: must be one of"),
    ("provider", {"sort": 3}, "provider.sort: must be a string"),
    ("provider", {"order": "openai"}, "provider.order: must be a list"),
    ("provider", {"order": [1]}, "provider.order.0: must be a string"),
    ("provider", {"only": [""]}, "provider.only.0: must not be empty"),
    ("provider", {"allow_fallbacks": "yes"}, "provider.allow_fallbacks: must be a boolean"),
    ("provider", {"require_parameters": 1}, "provider.require_parameters: must be a boolean"),
    ("provider", {"data_collection": "some"}, "provider.data_collection: must be one of allow, deny"),
    ("provider", {"zdr": "x"}, "provider.zdr: must be"),
    ("provider", {"enforce_distillable_text": 0}, "provider.enforce_distillable_text: must be"),
    ("provider", {"ignore": {}}, "provider.ignore: must be"),
    ("provider", {"quantizations": ["int3"]}, "provider.quantizations.0: must be one of int4"),
    ("provider", {"max_price": {"prompt": -1}}, "provider.max_price.prompt: must not be negative"),
    ("provider", {"max_price": {"image": "much"}}, "provider.max_price.image: must be a number"),
    ("provider", {"max_price": {"image": None, "audio": []}}, "provider.max_price.audio: must be a number"),
    ("provider", {"max_price": 4}, "provider.max_price: must be an object"),
    ("provider", {"preferred_max_latency": {"p50": "s"}}, "provider.preferred_max_latency.p50: must"),
    ("transforms", "middle-out", "transforms: must be a list"),
    ("models", [None], "models.0: must be a string"),
    ("route", "quick", "route: must be one of"),
    ("plugins", ["web"], "plugins.0: must be an object"),
    ("reasoning", {"effort": "huge"}, "reasoning.effort: must be one of none"),
    ("reasoning", {"max_tokens": "many"}, "reasoning.max_tokens: must be an integer"),
    ("reasoning", {"exclude": 1}, "reasoning.exclude: must be a boolean"),
    ("session_id", "s" * 257, "session_id: must not be longer than 256 characters"),
    ("trace", "t", "trace: must be an object"),
    ("frequency_penalty", 2.5, "frequency_penalty: must be between -2 and 2"),
    ("presence_penalty", -3, "presence_penalty: must be between -2 and 2"),
    ("seed", 1.5, "seed: must be an integer"),
    ("user", 7, "user: must be a string"),
    ("logit_bias", {"1": 101}, "logit_bias.1: must be between -100 and 100"),
    ("logit_bias", [1], "logit_bias: must be an object"),
    ("top_logprobs", 21, "top_logprobs: must be between 0 and 20"),
]


def written(value: Any) -> str:
    """Write a value as headers and variables have it: strings as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("name", GOOD)
def test_good_values_pass_from_everywhere(name: str) -> None:
    api = OPENROUTER if name in OPENROUTER.names else OPENAI
    for value in GOOD[name]:
        check_request(request(**{name: value}))
        if not PARAMETERS[name].preset:
            continue
        header = {api.header + name.replace("_", "-"): written(value)}
        variable = {api.variable + name.upper(): written(value)}
        assert from_headers(header, api) == {name: value}
        assert getattr(from_environment(variable), api.name) == {name: value}


@pytest.mark.parametrize(("name", "value", "refusal"), BAD)
def test_bad_values_are_refused_by_name_from_everywhere(name: str, value: Any, refusal: str) -> None:
    api = OPENROUTER if name in OPENROUTER.names else OPENAI
    header = api.header + name.replace("_", "-")
    variable = api.variable + name.upper()
    with pytest.raises(InvalidRequest) as body:
        check_request(request(**{name: value}))
    assert body.value.message.startswith(refusal)
    if not PARAMETERS[name].preset or value in ("0.1", 7):  # as text these are good
        return
    with pytest.raises(InvalidRequest) as told:
        from_headers({header: written(value)}, api)
    start = f"{name}: must be JSON" if isinstance(value, str) and not PARAMETERS[name].rule.plain else refusal
    assert told.value.message.startswith(start)
    assert told.value.message.endswith(f"(header {header})")
    with pytest.raises(InvalidRequest) as said:
        from_environment({variable: written(value)})
    assert said.value.message.startswith(f"{variable}: {start}")


def test_null_says_nothing() -> None:
    check_request(request(**dict.fromkeys(PARAMETERS)))


def test_keys_and_addresses_are_no_parameters() -> None:
    names = ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENROUTER_WIRE", "OPENROUTER_API_KEYS")
    others = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_LOG", "OPENROUTER_MIN_P")
    presets = from_environment({**dict.fromkeys(names, "x"), **dict.fromkeys(others, "")})
    assert (presets.openrouter, presets.openai) == ({}, {})


@pytest.mark.parametrize("name", ["x-openrouter-metadata", "x-openrouter-debug", "x-openai-seed", "min-p"])
def test_other_headers_are_not_ours(name: str) -> None:
    assert from_headers({name: "{"}, OPENROUTER) == {}


def test_a_value_that_is_no_json_is_refused_with_what_it_should_be() -> None:
    with pytest.raises(InvalidRequest, match=r"^provider: must be JSON: an object \(`order`"):
        from_headers({"x-openrouter-provider": "{order: 1}"}, OPENROUTER)


def test_no_name_is_in_both_tables() -> None:
    assert not OPENROUTER.names & OPENAI.names


@given(
    st.sampled_from(sorted(PARAMETERS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_anything_is_taken_or_refused_with_its_path(name: str, value: Any) -> None:
    said = ""
    try:
        PARAMETERS[name].rule.check(value, name)
    except InvalidRequest as error:
        said = error.message
    assert not said or said.startswith((f"{name}: must", f"{name}."))
