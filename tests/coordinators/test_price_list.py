"""PriceList, under the names that clients know models by."""

from __future__ import annotations

import pytest

from coordinators.price_list import PriceList

ALIASES = {"big": "anthropic/claude-sonnet-4"}
TABLE = {
    "claude-sonnet-4-5": {"input_cost_per_token": 3e-6, "output_cost_per_token": 15e-6},
    "vercel_ai_gateway/anthropic/claude-sonnet-4": {"input_cost_per_token": 9, "output_cost_per_token": 9},
    "anthropic.claude-sonnet-4-20250514-v1:0": {"input_cost_per_token": 3e-6, "output_cost_per_token": 15e-6},
    "gpt-4o": {"input_cost_per_token": 2, "output_cost_per_token": 3},
    "openrouter/openai/gpt-4o": {"input_cost_per_token": 4, "output_cost_per_token": 5},
    "by-the-second": {"input_cost_per_second": 1},
}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5[1m]", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("databricks:claude-sonnet-4", "anthropic.claude-sonnet-4-20250514-v1:0"),
        ("claude-sonnet-4-0", "anthropic.claude-sonnet-4-20250514-v1:0"),
        ("big", "anthropic.claude-sonnet-4-20250514-v1:0"),
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("by-the-second", None),
        ("claude-opus-9", None),
        ("", None),
    ],
)
def test_prices_are_found_by_any_name(model: str, name: str | None) -> None:
    price = PriceList(ALIASES, TABLE).of(model)
    assert (price and price.name) == name


def test_the_table_of_the_package_knows_todays_models() -> None:
    price = PriceList({}).of("claude-sonnet-4-5")
    assert price is not None
    assert 0 < price.token_in < price.token_out < 1e-3
