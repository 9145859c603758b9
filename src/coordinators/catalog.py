"""The list of models: the backends' own, kept for ten minutes, with our aliases in front."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from wire.errors import GatewayError, InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coordinators.lanes import BackendLanes
    from coordinators.routing import RoutingTable
    from tasks.backend import Reply

_FRESH_SECONDS = 600.0
_FAILED_SECONDS = 30.0
_FETCH_SECONDS = 2.0  # Claude Code waits 3 s for the whole list
_CHAT_TASK = "llm/v1/chat"
_EPOCH = "1970-01-01T00:00:00Z"

# Shown when the default backend's own list cannot be had.
_WELL_KNOWN = (
    "anthropic/claude-opus-4.6",
    "anthropic/claude-sonnet-4.5",
    "anthropic/claude-haiku-4.5",
    "anthropic/claude-sonnet-4",
    "anthropic/claude-3.7-sonnet",
)


class Catalog:
    """Answers `/v1/models` in Anthropic's shape, with the fields of OpenAI's beside its own.

    Aliases come first, then the models of every backend, with its prefix, but for the default one's.
    `unlisted` are backends whose models another one lists already.
    """

    def __init__(self, backends: RoutingTable, unlisted: Iterable[str] = ()) -> None:
        self._backends = backends
        listed = [one for name, one in backends.backends.items() if name not in set(unlisted)]
        self._lists = [_ModelList(one, is_default=one is backends.default) for one in listed]
        self._fetching = asyncio.Lock()
        self._stale_at = 0.0

    async def models(self) -> list[dict[str, Any]]:
        """Give every model; never raises: what a backend does not tell is left out, or told from before."""
        if time.monotonic() >= self._stale_at:
            async with self._fetching:
                if time.monotonic() >= self._stale_at:
                    await asyncio.gather(*(one.refresh() for one in self._lists))
                    self._stale_at = min(one.stale_at for one in self._lists)
        aliases = [
            _model(name, f"{name} ({target})", None, f"Alias of {target}")
            for name, target in self._backends.aliases.items()
        ]
        return aliases + [model for one in self._lists for model in one.models]

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
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": more,
        }

    async def find(self, model_id: str) -> dict[str, Any]:
        """Give one model by its id, or by any name that would be answered; raises NotFound."""
        target = self._backends.target(model_id)
        models = {model["id"]: model for model in await self.models()}
        if model_id in models:
            return models[model_id]
        default = target.backend == self._backends.default.name
        listed = target.model if default else f"{target.backend}:{target.model}"
        if listed in models:
            return {**models[listed], "id": model_id}
        if target.model in _WELL_KNOWN:
            return _model(model_id, target.model, None, "")
        raise NotFound(f"model: {model_id[:200]!r} is not in the backend's list")


class _ModelList:
    """One backend's models, as it last told them."""

    def __init__(self, backend: BackendLanes, *, is_default: bool) -> None:
        self._backend = backend
        self._prefix = "" if is_default else f"{backend.name}:"
        self.models: list[dict[str, Any]] = []
        self.stale_at = 0.0

    async def refresh(self) -> None:
        """Ask the backend if its list is old. One that fails keeps its list; the default one gets ours."""
        now = time.monotonic()
        if now < self.stale_at:
            return
        try:
            listed = _parse(await self._backend.list_models(_FETCH_SECONDS))
        except (GatewayError, ValueError, KeyError, TypeError, AttributeError):
            self.stale_at = now + _FAILED_SECONDS
            if not self.models and not self._prefix:
                self.models = [_model(name, name, None, "") for name in _WELL_KNOWN]
            return
        self.models = [{**model, "id": self._prefix + model["id"]} for model in listed]
        self.stale_at = now + _FRESH_SECONDS


def _index(models: list[dict[str, Any]], model_id: str, cursor: str) -> int:
    for index, model in enumerate(models):
        if model["id"] == model_id:
            return index
    raise InvalidRequest(f"{cursor}: no model has the id {model_id[:200]!r}")


def _parse(reply: Reply) -> list[dict[str, Any]]:
    """Read a list of models: OpenRouter's, Anthropic's, OpenAI's (in `data`), or Databricks' endpoints."""
    if reply.status != 200:
        raise ValueError(f"status {reply.status}")
    told = orjson.loads(reply.body)
    if "data" not in told:
        return [
            _model(str(one["name"]), str(one["name"]), one.get("creation_timestamp", 0) / 1000, "")
            for one in told["endpoints"]
            if one.get("task", _CHAT_TASK) == _CHAT_TASK
        ]
    models = [_entry(entry) for entry in told["data"]]
    # Claude Code's picker takes names that begin with claude or anthropic: these first.
    return sorted(models, key=lambda model: not model["id"].startswith("anthropic/"))


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    name = str(entry.get("name") or entry.get("display_name") or entry["id"])
    model = _model(str(entry["id"]), name, entry.get("created"), "") | _limits(entry)
    if isinstance(created := entry.get("created_at"), str):
        model["created_at"] = created
    return model


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
        # OpenAI's clients read these.
        "object": "model",
        "created": int(moment.timestamp()) if moment else 0,
        "owned_by": model_id.partition("/")[0] if "/" in model_id else "headgate",
    }
    if description:
        model["description"] = description
    return model
