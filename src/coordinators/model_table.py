"""LiteLLM's table of models, read from its package without importing it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.providers import PROVIDERS
from wire.provider_names import PRIORITY

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = "model_prices_and_context_window_backup.json"
_MODES = frozenset({"chat", "responses", "completion"})
_PROVIDER_OF = {table: provider.name for provider in PROVIDERS.values() for table in provider.tables}
_FLAGS = {
    "tools": "supports_function_calling",
    "parallel_tools": "supports_parallel_function_calling",
    "vision": "supports_vision",
    "reasoning": "supports_reasoning",
    "documents": "supports_pdf_input",
    "prompt_caching": "supports_prompt_caching",
}


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one provider, by LiteLLM's table; limits in tokens, None where it is silent."""

    name: str
    provider: str
    input_limit: int | None
    output_limit: int | None
    can: frozenset[str]


class ModelTable:
    """The models of our providers, and the providers of everybody else's."""

    def __init__(self, told: Mapping[str, Mapping[str, Any]]) -> None:
        self.models: dict[str, dict[str, Model]] = {name: {} for name in PRIORITY}
        self._elsewhere: dict[str, str] = {}
        for key, entry in told.items():
            owner = str(entry.get("litellm_provider"))
            provider = _PROVIDER_OF.get(owner)
            if entry.get("mode") not in _MODES:
                continue
            if provider is None:
                self._elsewhere.setdefault(key, owner)
                continue
            name = bare_name(key, provider)
            self.models[provider].setdefault(name, _model(name, provider, entry))

    def providers_of(self, model: str) -> list[str]:
        """Give the providers that serve the model, the first choice first."""
        return [provider for provider in PRIORITY if model in self.models[provider]]

    def owner_elsewhere(self, model: str) -> str | None:
        """Give LiteLLM's name of a provider that serves the model and is none of ours."""
        return self._elsewhere.get(model)


def provider_of(owner: str) -> str | None:
    """Give our name of a provider that the table names its own way; None if it is none of ours."""
    return _PROVIDER_OF.get(owner)


def read_file() -> dict[str, dict[str, Any]]:
    """Read LiteLLM's table of limits, abilities and prices, of some megabytes: not for the event loop."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:  # pragma: no cover - it is a dependency
        return {}
    told: dict[str, dict[str, Any]] = orjson.loads((Path(spec.origin).parent / _FILE).read_bytes())
    return told


@cache
def _read() -> ModelTable:
    return ModelTable(read_file())


async def model_table() -> ModelTable:
    """Give the table, read off the event loop at first use."""
    return await asyncio.to_thread(_read) if not _read.cache_info().currsize else _read()


def bare_name(key: str, provider: str) -> str:
    """Give a table's key as the provider's own name: without LiteLLM's prefix, regions included."""
    if provider == "bedrock":
        return key.rpartition("/")[2]
    prefix = "gemini" if provider == "google" else provider
    return key.removeprefix(f"{prefix}/")


def _model(name: str, provider: str, entry: Mapping[str, Any]) -> Model:
    return Model(
        name,
        provider,
        _limit(entry.get("max_input_tokens")),
        _limit(entry.get("max_output_tokens")),
        frozenset(ability for ability, flag in _FLAGS.items() if entry.get(flag) is True),
    )


def _limit(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None
