"""What an answer cost, where the upstream does not say: by the table in LiteLLM's package, or a list."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from coordinators.model_table import bare_name, provider_of, read_file
from wire.provider_names import PRIORITY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.exchange import Exchange

_DATABRICKS = "databricks"
PRICED = frozenset({*PRIORITY, _DATABRICKS})
"""The backends whose costs only the table tells."""

LISTED = frozenset({"openrouter", "litellm"})
"""The backends that tell costs themselves, nearly always, and have a list of prices for when they do not.
The table does not have their models. Others have no costs."""

_MODES = frozenset({"chat", "responses", "completion"})
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
_MOST = 2**40  # tokens of one request: an upstream may say anything


class Price(NamedTuple):
    """Dollars a token: input, output, read from the prompt cache, written to it.

    A prompt of more than `bound` tokens has the prices `above` instead, if there is a bound.
    """

    input: float
    output: float
    read: float
    write: float
    bound: int = 0
    above: Price | None = None


class PriceSource(Protocol):
    """Knows a backend's prices, by and by."""

    def of(self, model: str) -> Price | None:
        """Give what is known of a model by now, at once."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class Prices:
    """Estimates costs. Before `load`, and of models that the table does not know, it knows none.

    `lists` are asked by backend for what the table does not have.
    """

    def __init__(
        self,
        table: Mapping[tuple[str, str], Price] | None = None,
        lists: Mapping[str, PriceSource] | None = None,
    ) -> None:
        self._table = table or {}
        self._lists = lists or {}

    async def load(self) -> None:
        """Read the table, off the event loop."""
        self._table = await asyncio.to_thread(_read)

    def complete(self, summary: dict[str, Any], exchange: Exchange) -> None:
        """Put into a request's summary what it cost, if the upstream did not; `cost_estimated` marks it.

        What no upstream was asked for has no cost.
        """
        if summary.get("cost_usd") is not None or not exchange.tried:
            return
        target = exchange.tried[-1]
        price = self._table.get((target.backend, target.model))
        if price is None and (listed := self._lists.get(target.backend)) is not None and _has_usage(summary):
            price = listed.of(target.model)
        if price is not None and (cost := _cost(price, summary)) is not None:
            summary["cost_usd"] = cost
            summary["cost_estimated"] = True

    async def close(self) -> None:
        """Let go of the lists."""
        for listed in self._lists.values():
            await listed.close()


def _has_usage(summary: Mapping[str, Any]) -> bool:
    return bool(tokens(summary.get("input_tokens")) or tokens(summary.get("output_tokens")))


def tokens(value: Any) -> int:
    """Give a number of tokens that an upstream told, 0 for what is none."""
    return value if type(value) is int and 0 < value < _MOST else 0


def _cost(price: Price, summary: Mapping[str, Any]) -> float | None:
    fresh, written = tokens(summary.get("input_tokens")), tokens(summary.get("output_tokens"))
    read = tokens(summary.get("cache_read_input_tokens"))
    kept = tokens(summary.get("cache_creation_input_tokens"))
    prompt = fresh + read + kept
    if not prompt and not written:
        return None
    if price.above is not None and prompt > price.bound:
        price = price.above
    return fresh * price.input + written * price.output + read * price.read + kept * price.write


def _read() -> dict[tuple[str, str], Price]:
    """Give the prices by backend and model, as targets name them."""
    table: dict[tuple[str, str], Price] = {}
    for key, entry in read_file().items():
        names = _names(key, str(entry.get("litellm_provider"))) if entry.get("mode") in _MODES else []
        if names and (price := _price(entry)) is not None:
            for name in names:
                table.setdefault(name, price)
    return table


def _names(key: str, owner: str) -> list[tuple[str, str]]:
    if (provider := provider_of(owner)) is not None:
        return [(provider, bare_name(key, provider))]
    return [(_DATABRICKS, key.removeprefix(f"{owner}/"))] if owner == _DATABRICKS else []


def _price(entry: Mapping[str, Any]) -> Price | None:
    plain = _tier(entry, "")
    if plain is None:
        return None
    bounds = sorted(int(found[1]) for name in entry if (found := _ABOVE.fullmatch(name)))
    if not bounds:
        return plain
    # A table with several bounds is priced by the first.
    return plain._replace(bound=bounds[0] * 1000, above=_tier(entry, f"_above_{bounds[0]}k_tokens", plain))


def _tier(entry: Mapping[str, Any], suffix: str, usual: Price | None = None) -> Price | None:
    def told(name: str, otherwise: float | None) -> float | None:
        value = entry.get(name + suffix)
        return float(value) if isinstance(value, int | float) and value >= 0 else otherwise

    given = told("input_cost_per_token", usual and usual.input)
    made = told("output_cost_per_token", usual and usual.output)
    if given is None or made is None:
        return None
    # Without a price of its own, what is read from or written to a cache is input like any other.
    read = told("cache_read_input_token_cost", usual.read if usual is not None else given)
    write = told("cache_creation_input_token_cost", usual.write if usual is not None else given)
    assert read is not None  # noqa: S101 - both have a number to fall back to
    assert write is not None  # noqa: S101 - likewise
    return Price(given, made, read, write)
