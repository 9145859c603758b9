"""What models cost, by LiteLLM's table, under whichever name a client knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coordinators.model_table import read_file
from tasks.model_names import anthropic_name, claude_base_name, openrouter_name, strip_context_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one token in and one out; `name` is the table's for the model."""

    name: str
    token_in: float
    token_out: float


class PriceList:
    """Prices by model; `aliases` are names of the gateway's own."""

    def __init__(
        self, aliases: Mapping[str, str], table: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._aliases = aliases
        self._by_base: dict[str, str] | None = None
        self._table = read_file() if table is None else table

    def of(self, model: str) -> Price | None:
        """Give a model's price, None if the table has none."""
        names = list(self._names(model))
        for name in names:
            if (price := self._price(name)) is not None:
                return price
        base = claude_base_name(names[-1])
        return None if base is None else self._price(self._claudes().get(base, ""))

    def _price(self, name: str) -> Price | None:
        entry = self._table.get(name, {})
        token_in, token_out = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
        if isinstance(token_in, int | float) and isinstance(token_out, int | float):
            return Price(name, float(token_in), float(token_out))
        return None

    def _claudes(self) -> dict[str, str]:
        """Give the table's names of Claude models by family and version, Anthropic's own names first.

        Old models are left in it under other sellers' names only, who ask the same.
        """
        if self._by_base is None:
            self._by_base = {}
            for name in sorted(self._table, key=_distance):
                base = claude_base_name(name.rpartition("/")[2])
                if base is not None and self._price(name) is not None:
                    self._by_base.setdefault(base, name)
        return self._by_base

    def _names(self, model: str) -> Iterator[str]:
        """Give the names that the table may know the model by, the likeliest first."""
        asked = self._aliases.get(model) or self._aliases.get(strip_context_suffix(model)) or model
        plain = strip_context_suffix(asked)
        yield plain
        for prefix in ("anthropic:", "openrouter:", "litellm:", "databricks:", "openai_compatible:"):
            if plain.startswith(prefix):
                plain = plain.removeprefix(prefix)
                yield plain
        if (theirs := anthropic_name(plain)) is not None:
            yield theirs
            yield theirs.removesuffix("-0").removesuffix("-latest")
        if (routed := openrouter_name(plain)) is not None:
            yield f"openrouter/{routed}"
        yield plain.rpartition("/")[2]


def _distance(name: str) -> tuple[int, str]:
    """Say how far a name of the table is from Anthropic's own."""
    if name.startswith("claude-"):
        return 0, name
    if name.startswith("anthropic."):
        return 1, name
    return (2 if "/" in name else 3), name
