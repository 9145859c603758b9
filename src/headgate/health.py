"""Assembly of `/health/…`: what there is to ask, and how."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from coordinators import cache_reports
from coordinators.health import Health, Part, worst
from coordinators.scrubbing import without_password
from express.recorder import recorder_stats
from express.recorder.server import Mark, shows
from headgate import __version__
from tasks.batch import StoreFailed
from wire.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from coordinators.answer_cache import AnswerCache
    from coordinators.gateway import Gateway
    from coordinators.http_upstream import HttpUpstream
    from coordinators.lanes import BackendLanes
    from coordinators.lately import Lately
    from coordinators.routing import RoutingTable
    from coordinators.traces import Traces
    from headgate.batch_parts import BatchStoreOpener
    from headgate.instance import Instance
    from headgate.usage_parts import UsageParts

_PREFECT_SECONDS = 1.5


class HealthParts:
    """What one web process knows of its parts; asked by `/health/detailed` and by the overview.

    `lately` gives the backends' latencies; `look` refreshes it first.
    """

    def __init__(
        self,
        instance: Instance,
        backends: RoutingTable,
        cache: AnswerCache,
        batches: BatchStoreOpener,
        http: HttpUpstream,
        *,
        providers: Sequence[BackendLanes],
        usage: UsageParts,
        traces: Traces | None,
        lost: Callable[[], Mapping[str, int]],
        lately: Lately,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self._instance = instance
        self._backends = backends
        self._cache = cache
        self._batches = batches
        self._http = http
        self._providers = providers
        self._usage = usage
        self._traces = traces
        self._lost = lost
        self._lately = lately
        self._look = look
        probes: dict[str, Callable[[], Awaitable[Part]]] = {
            "cache": self._of_cache,
            "batch_store": self._of_batches,
            "usage_store": self._of_usage,
            "recorder": self._of_recorder,
            "prefect": self._of_prefect,
            "log_folder": self._of_log_folder,
            "traces": self._of_traces,
        }
        self.health = Health(probes, self._of_many)

    async def check(self, gateway: Gateway) -> dict[str, Any]:
        """Give what `/health/detailed` shows."""
        instance, default = self._instance, self._backends.default
        parts = await self.health.parts()
        processes = instance.child_states()
        running = all(child.get("state") == "running" for child in processes.values())
        recorder = {**parts["recorder"]}
        api_url = instance.prefect_api_url
        shown_url = without_password(api_url) if api_url is not None else None
        state = {"down": "unreachable", "degraded": "ok"}.get(recorder["state"], recorder["state"])
        return {
            "status": worst(parts) if running else "degraded",
            "version": __version__,
            "instance": instance.id,
            "backend": {
                "name": default.name,
                "base_url": without_password(default.base_url),
                "chosen_because": instance.why,
            },
            "backends": [backend.state() for backend in self._backends.backends.values()],
            "runs": instance.runs,
            "prefect": {"api_url": shown_url, "ui_url": instance.prefect_ui_url},
            "recorder": recorder | {"state": state},
            "streams_open": gateway.streams_open,
            "processes": processes,
            "parts": parts,
        }

    async def _of_many(self) -> dict[str, Part]:
        await self._look()
        latencies = self._lately.latencies()
        backends = {
            f"backend:{one.name}": _of_backend(one, latencies.get(one.name))
            for one in self._backends.backends.values()
        }
        providers = {
            f"provider:{one.name}": _of_backend(one, latencies.get(one.name)) for one in self._providers
        }
        processes = {f"process:{name}": _of_process(child) for name, child in self._children().items()}
        return {**backends, **providers, **processes}

    def _children(self) -> dict[str, dict[str, Any]]:
        return self._instance.child_states()

    async def _of_cache(self) -> Part:
        if self._cache.idle and not self._cache.settings.on:
            return Part("idle")
        told = await cache_reports.health(self._cache)
        facts: dict[str, Any] = {
            name: told[name] for name in ("default", "store", "entries", "bytes") if name in told
        }
        return Part("ok" if told["status"] == "ok" else "degraded", error=told["trouble"], facts=facts)

    async def _of_batches(self) -> Part:
        store = self._batches.opened
        if store is None:
            return Part("down" if self._batches.failed else "idle", error=self._batches.failed)
        try:
            await store.page(None, limit=1)
        except StoreFailed:
            return Part("down", error="the store of batches cannot be used now; see the log")
        return Part("ok")

    async def _of_usage(self) -> Part:
        state = self._usage.store_state
        told = "the store of usage and client keys cannot be used now; see the log"
        return Part(state, error=told if state == "down" else None)

    async def _of_traces(self) -> Part:
        if self._traces is None:
            return Part("off")
        state = self._traces.state
        facts = {"queued": self._traces.queued, "dropped": self._traces.dropped}
        return Part(
            "degraded" if state == "down" else state,  # no request needs it
            error="the collector does not take the traces; see the log" if state == "down" else None,
            facts=facts,
        )

    async def _of_recorder(self) -> Part:
        if self._instance.runs != "express":
            return Part("off")
        try:
            stats = await recorder_stats(self._instance.recorder_socket, within=1.0)
        except (OSError, ValueError):
            return Part("down", error="the recorder does not answer")
        trouble = stats.get("trouble")
        return Part("degraded" if trouble else "ok", error=str(trouble) if trouble else None, facts=stats)

    async def _of_prefect(self) -> Part:
        url, mark = self._instance.prefect_api_url, self._instance.prefect_mark
        if url is None:
            return Part("off")
        if moved := self._prefect_moved():
            return Part("degraded", error=f"somebody took Prefect's port: it is at {moved} until a new start")
        try:
            path = "health" if mark is None else "admin/settings"
            reply = await self._http.get(f"{url}/{path}", {}, _PREFECT_SECONDS)
        except GatewayError as error:
            return Part("down", error=error.message.replace("upstream:", "Prefect:"))
        if reply.status >= 500:
            return Part("down", error=f"Prefect answers {reply.status}")
        if mark is not None and not shows(reply.body, Mark(*mark)):
            return Part("down", error="somebody else answers at Prefect's address")
        return Part("ok")

    def _prefect_moved(self) -> str | None:
        """Give the address of the embedded server's pages, if it is not the one this process began with."""
        at = self._children().get("prefect", {}).get("ui_url")
        return None if at in (None, self._instance.prefect_ui_url) else str(at)

    async def _of_log_folder(self) -> Part:
        lost = sum((await asyncio.to_thread(self._lost)).values())
        told = f"{lost} lines could not be written" if lost else None
        return Part("degraded" if lost else "ok", error=told, facts={"lines_lost": lost})


def _of_backend(lanes: BackendLanes, latency: float | None) -> Part:
    told = lanes.state()
    failed = [key for key in told["keys"] if key["last_error"]]
    last = max(failed, key=lambda key: str(key["last_error_at"]), default=None)
    facts = {name: told[name] for name in ("running", "waiting", "models_shut")}
    part = Part("ok", latency, facts=facts)
    match told["state"]:
        case "half_open":
            part.state = "degraded"
        case "open":
            part.state = "down"
    if last is not None:
        part.error, part.error_at = last["last_error"], last["last_error_at"]
    return part


def _of_process(child: Mapping[str, Any]) -> Part:
    running = child.get("state") == "running"
    facts = {"pid": child.get("pid"), "restarts": child.get("restarts", 0)}
    code = child.get("last_exit")
    error = None if code is None else f"ended by itself with {code}"
    return Part("ok" if running else "down", error=error, error_at=child.get("last_exit_at"), facts=facts)
