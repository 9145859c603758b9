"""`/metrics` and `/tool-metrics`: who may look, and what they are given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from coordinators.tool_counts import tool_metrics
from tasks.batch import StoreFailed
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from coordinators.batch_progress import Batches, BatchProgress
    from coordinators.keys import AdminKeys, ClientKeys
    from coordinators.metrics import Metrics
    from wire.messages import Json

    Recorder = Callable[[], Awaitable[Mapping[str, Any] | None]]


class MetricReports:
    """Answers from the counts of all workers, to clients and managers as `/health/detailed` does.

    `recorder` gives the recorder's counters, None if it does not answer, and is None itself if there is none.
    `children` gives the supervisor's processes. `batches` knows how far those are.
    """

    def __init__(
        self,
        metrics: Metrics | None,
        keys: ClientKeys,
        admins: AdminKeys,
        *,
        version: str,
        instance: str,
        children: Callable[[], Mapping[str, Any]],
        recorder: Recorder | None,
        batches: Batches | None = None,
    ) -> None:
        self._batches = batches
        self._metrics = metrics
        self._keys = keys
        self._admins = admins
        self._version = version
        self._instance = instance
        self._children = children
        self._recorder = recorder

    async def exposition(self, headers: Mapping[str, str], peer: str | None) -> tuple[bytes, str]:
        """Give the text in the format that `accept` asks for, and its content type; raises GatewayErrors."""
        metrics = self._admitted(headers, peer)
        metrics.write()
        stats = await self._recorder() if self._recorder is not None else None
        progress = await self._progress()
        return await asyncio.to_thread(self._render, metrics, headers.get("accept", ""), stats, progress)

    async def tools(self, headers: Mapping[str, str], peer: str | None) -> Json:
        """Give how often each tool was declared, called, and failed; raises GatewayErrors."""
        metrics = self._admitted(headers, peer)
        metrics.write()
        counts, _ = await asyncio.to_thread(metrics.read)
        return tool_metrics(counts.get("tools", {}))

    def _admitted(self, headers: Mapping[str, str], peer: str | None) -> Metrics:
        if not self._admins.holds(headers, peer):
            self._keys.check(headers)
        if self._metrics is None:
            raise NotFound("metrics are off: see HEADGATE_METRICS")
        return self._metrics

    async def _progress(self) -> BatchProgress | None:
        if self._batches is None:
            return None
        try:
            return await self._batches.progress()
        except StoreFailed:
            return None

    def _render(
        self,
        metrics: Metrics,
        accept: str,
        stats: Mapping[str, Any] | None,
        progress: BatchProgress | None,
    ) -> tuple[bytes, str]:
        # Loaded when somebody asks: most of those who start a gateway never do.
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415
        from prometheus_client.registry import Collector, CollectorRegistry  # noqa: PLC0415

        from coordinators import instance_families as instance  # noqa: PLC0415
        from coordinators import metric_families as families  # noqa: PLC0415

        counts, now = metrics.read()
        recorder = self._recorder

        class All(Collector):
            def collect(_) -> Iterable[Any]:  # noqa: N805
                yield instance.info_family(self._version, self._instance)
                yield from families.request_families(counts)
                yield from families.worker_families(now)
                if recorder is not None:
                    yield from instance.recorder_families(stats)
                if progress is not None:
                    yield from instance.batch_families(progress)
                yield from instance.process_families(self._children())

        registry = CollectorRegistry(auto_describe=False)
        registry.register(All())
        encode, kind = choose_encoder(accept)
        return encode(registry), kind
