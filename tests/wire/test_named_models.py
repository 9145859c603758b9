"""Which models a request names: a key that may ask for some only is held to all of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from wire.named_models import models_named


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"model": "a", "messages": [{"model": "x"}], "metadata": {"model": "x"}}, ["a"]),
        ({"model": 1, "preset": 2, "models": "a", "plugins": {}, "tools": None, "extra_body": []}, []),
        ({"models": ["a", None, {"model": "b"}]}, ["a", "b"]),
        ({"preset": "mine"}, ["@preset/mine"]),
        ({"route": "fallback", "fallbacks": [{"model": "a", "max_tokens": 5}, "b"]}, ["a", "b"]),
        ({"context_window_fallbacks": [{"small": ["a", "b"]}]}, ["a", "b"]),
        ({"extra_body": {"models": ["a"]}, "router_settings_override": {"fallbacks": ["b"]}}, ["a", "b"]),
        ({"plugins": [{"id": "web"}, {"id": "auto-router", "allowed_models": ["openai/*"]}]}, []),
        (
            {"plugins": [{"id": "fusion", "model": "a", "analysis_models": ["b", "c"]}, "odd"]},
            ["openrouter/fusion", "a", "b", "c"],
        ),
        ({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "a"}]}, ["a"]),
        (
            {
                "tools": [
                    {"type": "openrouter:fusion", "parameters": {"model": "a", "analysis_models": ["b"]}}
                ]
            },
            ["openrouter/fusion", "a", "b"],
        ),
        ({"tools": [{"type": "function", "parameters": {"models": ["x"]}}, {"name": "custom"}]}, []),
    ],
)
def test_every_place_that_can_name_a_model_is_looked_at(body: dict[str, Any], named: list[str]) -> None:
    assert list(models_named(body, {})) == named


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"x-openrouter-models": '["a","b"]', "x-openrouter-route": "fallback"}, ["a", "b"]),
        ({"x-openrouter-plugins": '[{"id":"fusion","model":"a"}]'}, ["openrouter/fusion", "a"]),
        ({"x-openrouter-models": "a"}, []),
        ({"x-openrouter-title": "a", "x-api-key": "b"}, []),
    ],
)
def test_headers_name_models_too(headers: dict[str, str], named: list[str]) -> None:
    assert list(models_named({}, headers)) == named


@pytest.mark.parametrize(
    "body",
    [
        b'{"extra_body":' * 1000 + b'{"model":"deep"}' + b"}" * 1000,
        b'{"fallbacks":[' + b'{"a":[' * 500 + b'"deep"' + b"]}" * 500 + b"]}",
    ],
    ids=["fields", "lists"],
)
def test_what_is_nested_deeply_is_read_as_well(body):
    assert list(models_named(orjson.loads(body), {})) == ["deep"]
