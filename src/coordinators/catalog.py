"""The list of models: the backend's own, kept for ten minutes, with ours in front."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from wire.errors import GatewayError, InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.backend import Reply, Target

_FRESH_SECONDS = 600.0
_FAILED_SECONDS = 30.0
_FETCH_SECONDS = 2.0  # Claude Code waits 3 s for the whole list
_EPOCH = "1970-01-01T00:00:00Z"

# Shown when the backend's own list cannot be had.
_FALLBACK = (
    "anthropic/claude-opus-4.6",
    "anthropic/claude-sonnet-4.5",
    "anthropic/claude-haiku-4.5",
    "anthropic/claude-sonnet-4",
    "anthropic/claude-3.7-sonnet",
)


class ModelSource(Protocol):
    """A backend that can list its models, and knows a name when it sees one."""

    def target(self, asked: str) -> Target: ...

    async def list_models(self, seconds: float) -> Reply: ...


class Catalog:
    """Answers `/v1/models` in Anthropic's shape. `aliases` are listed first."""

    def __init__(self, source: ModelSource, aliases: Mapping[str, str]) -> None:
        self._source = source
        self._aliases = aliases
        self._models: list[dict[str, Any]] = []
        self._stale_at = 0.0
        self._fetching = asyncio.Lock()

    async def models(self) -> list[dict[str, Any]]:
        """Give every model; never raises: without the backend's list a short one of ours is given."""
        if time.monotonic() < self._stale_at:
            return self._models
        async with self._fetching:
            if time.monotonic() >= self._stale_at:
                await self._refresh()
        return self._models

    async def _refresh(self) -> None:
        aliases = [
            _model(name, f"{name} ({target})", None, f"Alias of {target}")
            for name, target in self._aliases.items()
        ]
        try:
            listed = _parse(await self._source.list_models(_FETCH_SECONDS))
        except (GatewayError, ValueError, KeyError, TypeError):
            self._stale_at = time.monotonic() + _FAILED_SECONDS
            if not self._models:
                self._models = aliases + [_model(name, name, None, "") for name in _FALLBACK]
            return
        self._models = aliases + listed
        self._stale_at = time.monotonic() + _FRESH_SECONDS

    async def page(
        self, *, limit: int, before_id: str | None = None, after_id: str | None = None
    ) -> dict[str, Any]:
        """Give one page of the list; raises InvalidRequest for an unknown cursor."""
        models = await self.models()
        if before_id is not None and after_id is not None:
            raise InvalidRequest("after_id: only one of before_id and after_id can be given")
        if after_id is not None:
            rest = models[_index(models, after_id, "after_id") + 1 :]
            data, more = rest[:limit], len(rest) > limit
        elif before_id is not None:
            rest = models[: _index(models, before_id, "before_id")]
            data, more = rest[-limit:], len(rest) > limit
        else:
            data, more = models[:limit], len(models) > limit
        return {
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": more,
        }

    async def find(self, model_id: str) -> dict[str, Any]:
        """Give one model by its id, or by any name that would be answered; raises NotFound."""
        target = self._source.target(model_id)
        models = {model["id"]: model for model in await self.models()}
        if model_id in models:
            return models[model_id]
        if target.model in models:
            return {**models[target.model], "id": model_id}
        if target.model in _FALLBACK:
            return _model(model_id, target.model, None, "")
        raise NotFound(f"model: {model_id[:200]!r} is not in the backend's list")


def _index(models: list[dict[str, Any]], model_id: str, cursor: str) -> int:
    for index, model in enumerate(models):
        if model["id"] == model_id:
            return index
    raise InvalidRequest(f"{cursor}: no model has the id {model_id[:200]!r}")


def _parse(reply: Reply) -> list[dict[str, Any]]:
    if reply.status != 200:
        raise ValueError(f"status {reply.status}")
    listed = orjson.loads(reply.body)["data"]
    models = [
        _model(str(entry["id"]), str(entry.get("name") or entry["id"]), entry.get("created"), "")
        | _limits(entry)
        for entry in listed
    ]
    # Claude Code's picker takes names that begin with claude or anthropic: these first.
    return sorted(models, key=lambda model: not model["id"].startswith("anthropic/"))


def _limits(entry: dict[str, Any]) -> dict[str, int]:
    top = entry.get("top_provider") or {}
    found = {"max_input_tokens": entry.get("context_length"), "max_tokens": top.get("max_completion_tokens")}
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _model(model_id: str, display_name: str, created: object, description: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(created, UTC) if isinstance(created, int | float) else None
    model: dict[str, Any] = {
        "type": "model",
        "id": model_id,
        "display_name": display_name,
        "created_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else _EPOCH,
    }
    if description:
        model["description"] = description
    return model
