"""The universal stream's providers: which are configured, which of them serves a model, and how they are."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coordinators.lanes import BackendLanes, Cooling
from coordinators.litellm_backend import LiteLLMBackend
from coordinators.model_table import model_table
from coordinators.places import Places
from coordinators.providers import PROVIDERS
from tasks.backend import Route
from tasks.model_names import anthropic_name, strip_context_suffix
from wire.errors import GatewayError, NotFound, PermissionDenied
from wire.litellm_dialects import PROVIDER_DIALECTS
from wire.provider_names import PRIORITY, guessed_provider, provider_named, split_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordinators.http_upstream import HttpUpstream
    from coordinators.litellm_calls import LiteLLM
    from coordinators.model_table import Model
    from coordinators.providers import Provider
    from wire.messages import Json

_HEALTH_SECONDS = 3.0
_HEALTH_KEPT = 30.0


class Universal:
    """Every provider, and the ways to those that are configured (`tasks.universal.Providers`).

    `environment` holds the variables of `providers`; `fallbacks` are the models to go on with, by a model's
    name or `*`; `concurrency` and `queue` bound the calls to each provider (0: no bound).
    """

    def __init__(
        self,
        library: LiteLLM,
        http: HttpUpstream,
        environment: Mapping[str, str],
        *,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        cooling: Cooling | None = None,
        concurrency: int = 0,
        queue: int = 100,
    ) -> None:
        self._http = http
        self._environment = environment
        self._fallbacks = fallbacks or {}
        self._lanes = {
            name: BackendLanes(
                [(_backend(library, provider, environment), 1)],
                cooling=cooling,
                places=Places(name, limit=concurrency, queue=queue),
            )
            for name, provider in PROVIDERS.items()
            if not provider.missing(environment)
        }
        self._checks = {name: _Check() for name in PROVIDERS}

    @property
    def lanes(self) -> list[BackendLanes]:
        """The ways to each configured provider."""
        return [*self._lanes.values()]

    async def routes(
        self, asked: str, provider: str | None = None, fallbacks: Sequence[str] | None = None
    ) -> tuple[Route, ...]:
        """Give the ways to answer: each provider that serves the model by priority, then the fallbacks.

        `provider` allows only that one. What nobody serves who is configured is passed over while something
        else is there. Raises NotFound for a model that nobody serves at all, and PermissionDenied with the
        variables to set if none of those who serve the models is configured.
        """
        if fallbacks is None:
            fallbacks = self._fallbacks.get(asked) or self._fallbacks.get("*") or ()
        routes: dict[tuple[str, str], Route] = {}
        missing: PermissionDenied | None = None
        for place, name in enumerate((asked, *fallbacks)):
            try:
                ways = await self._ways(name, provider if place == 0 else None)
            except PermissionDenied as error:
                missing = missing or error
                continue
            for route in ways:
                routes.setdefault((route.target.backend, route.target.model), route)
        if missing is not None and not routes:
            raise missing
        return tuple(routes.values())

    async def _ways(self, asked: str, named: str | None) -> list[Route]:
        plain = strip_context_suffix(asked.strip())
        own, model = split_name(plain)
        if named is not None:
            wanted = [_known(named)]
        elif own is not None:
            wanted = [own]
        else:
            wanted = await self._served_by(model)
        ready = [name for name in wanted if name in self._lanes]
        if not ready:
            raise PermissionDenied(f"model: {asked[:200]!r} needs {' or '.join(map(self._needs, wanted))}")
        return [self._way(name, model, asked) for name in ready]

    def _way(self, provider: str, model: str, asked: str) -> Route:
        if provider == "anthropic":
            model = anthropic_name(model) or model
        lanes = self._lanes[provider]
        target = lanes.target(model)
        return Route(type(target)(asked, model, "chat", target.whose_key, provider, target.dialect), lanes)

    async def _served_by(self, model: str) -> list[str]:
        table = await model_table()
        if known := table.providers_of(model):
            return known
        if (guessed := guessed_provider(model)) is not None:
            return [guessed]
        elsewhere = table.owner_elsewhere(model)
        served = f"is served by {elsewhere}" if elsewhere else "is known to no table or rule"
        raise NotFound(
            f"model: {model[:200]!r} {served}; name one of {', '.join(PRIORITY)} in front of it "
            "(azure/my-deployment) or as `provider`"
        )

    def _needs(self, name: str) -> str:
        return f"{name} ({' and '.join(PROVIDERS[name].missing(self._environment))})"

    # ---- what is here, and how it is ----

    async def describe(self) -> Json:
        """Give every provider with its models and limits; of keys, only the names of their variables."""
        table = await model_table()
        return {"providers": [self._described(name, table.models[name]) for name in PRIORITY]}

    def _described(self, name: str, models: Mapping[str, Model]) -> Json:
        provider = PROVIDERS[name]
        missing = provider.missing(self._environment)
        return {
            "provider": name,
            "configured": not missing,
            "missing": missing,
            "variables": [*provider.needed, *provider.optional],
            "streaming": True,
            "abilities": sorted(set[str]().union(*(model.can for model in models.values()))),
            "model_count": len(models),
            "models": [
                {
                    "id": model.name,
                    "tools": "tools" in model.can,
                    "vision": "vision" in model.can,
                    "reasoning": "reasoning" in model.can,
                    "max_input_tokens": model.input_limit,
                    "max_output_tokens": model.output_limit,
                }
                for model in models.values()
            ],
        }

    async def health(self) -> Json:
        """Give for every provider whether it is reachable; asked at most every half minute."""
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._healthy(name)) for name in PRIORITY]
        told = [one.result() for one in asked]
        ready = [one for one in told if one["configured"]]
        well = bool(ready) and all(one["reachable"] for one in ready)
        return {"status": "ok" if well else "degraded", "providers": told}

    async def _healthy(self, name: str) -> Json:
        lanes = self._lanes.get(name)
        if lanes is None:
            return {
                "provider": name, "configured": False, "reachable": None, "latency_ms": None,
                "last_error": None, "last_error_at": None, "checked_at": None,
            }  # fmt: skip
        check = self._checks[name]
        if time.monotonic() - check.made > _HEALTH_KEPT:
            await self._check(PROVIDERS[name], check)
        lane = lanes.state()["keys"][0]
        return {
            "provider": name,
            "configured": True,
            "reachable": check.reachable,
            "latency_ms": check.latency_ms,
            "last_error": check.error or lane["last_error"],
            "last_error_at": lane["last_error_at"] if check.error is None else check.at,
            "checked_at": check.at,
        }

    async def _check(self, provider: Provider, check: _Check) -> None:
        """Ask the provider something that costs nothing; an answer of any status but 5xx says it is there."""
        started = check.made = time.monotonic()
        check.error = None
        try:
            reply = await self._http.get(*provider.health_request(self._environment), _HEALTH_SECONDS)
        except GatewayError as error:
            check.reachable, check.error = False, type(error).__name__
        else:
            check.reachable = reply.status < 500
            if reply.status in {401, 403} or reply.status >= 500:
                check.error = "KeyRefused" if reply.status < 500 else "UpstreamFailed"
        check.latency_ms = round((time.monotonic() - started) * 1000, 1)
        check.at = datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(slots=True)
class _Check:
    """The last look at a provider."""

    made: float = float("-inf")
    at: str | None = None
    reachable: bool | None = None
    latency_ms: float | None = None
    error: str | None = None


def _known(name: str) -> str:
    provider = provider_named(name)
    if provider is None:
        raise NotFound(f"provider: {name[:80]!r} is not known; it can be {', '.join(PRIORITY)}")
    return provider


def _backend(library: LiteLLM, provider: Provider, environment: Mapping[str, str]) -> LiteLLMBackend:
    return LiteLLMBackend(
        library,
        name=provider.name,
        provider=provider.litellm,
        access=provider.access(environment),
        whose_key=provider.whose_key,
        dialect=PROVIDER_DIALECTS[provider.name],
    )
