"""Assembly of what observes requests: their counts, and their traces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from coordinators.metric_reports import MetricReports
from coordinators.metrics import Metrics
from coordinators.overview import UNDER_WAY
from coordinators.request_log import begun_line
from coordinators.traces import Traces
from express.recorder import recorder_stats
from headgate import __version__
from headgate.recording import scrubber_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.batch_progress import Batches
    from coordinators.gateway import Gateway
    from coordinators.keys import AdminKeys, ClientKeys
    from coordinators.lanes import BackendLanes
    from coordinators.limits import Limits
    from coordinators.observing import Observer
    from coordinators.routing import RoutingTable
    from coordinators.traces import Sender
    from express.recorder import SocketSink
    from headgate.instance import Instance
    from headgate.settings import Settings


class Observing:
    """The observers of one web process, or (not `web`) of the one that executes batches.

    Made before the gateway, begun when it is there.
    """

    def __init__(
        self, settings: Settings, instance: Instance, backends: RoutingTable, *, web: bool = True
    ) -> None:
        self._instance = instance
        self._web = web
        self._scrubber = scrubber_of(settings)
        self._gateway: Gateway | None = None
        self._keys: ClientKeys | None = None
        self._limits: Limits | None = None
        self._sink: SocketSink | None = None
        self.metrics: Metrics | None = None
        self.traces = self._assemble_traces(settings, backends)
        if settings.metrics == "on":
            self.metrics = Metrics(
                instance.metrics_dir,
                models=settings.metrics_models,
                given=backends.named_models(),
                look=self._look,
                counters=self._counters,
            )

    @property
    def observers(self) -> list[Observer]:
        """Who is to be told of each request's end."""
        return [one for one in (self.metrics, self.traces) if one is not None]

    def _assemble_traces(self, settings: Settings, backends: RoutingTable) -> Traces | None:
        url = settings.traces_url
        if url is None:
            return None
        headers = settings.otlp_traces_headers or settings.otlp_headers
        resource = {
            "service.name": "headgate",
            "service.version": __version__,
            "service.instance.id": f"{self._instance.id}-{os.getpid()}",
        }

        def make() -> Sender:
            from coordinators.trace_spans import SpanSender  # noqa: PLC0415 - it loads OpenTelemetry's SDK

            lanes = self._all_lanes() or backends.backends.values()
            return SpanSender(
                url,
                headers=headers.get_secret_value() if headers is not None else None,
                resource=resource,
                addresses={one.name: one.base_url for one in lanes},
            )

        return Traces(make, rate=settings.traces_rate)

    def begin(
        self,
        gateway: Gateway,
        keys: ClientKeys,
        admins: AdminKeys,
        sink: SocketSink | None,
        batches: Batches,
        *,
        limits: Limits,
    ) -> MetricReports:
        """Begin to watch the other parts; give what answers for them."""
        self._gateway, self._keys, self._limits, self._sink = gateway, keys, limits, sink
        if self.metrics is not None:
            self.metrics.start()
        instance = self._instance
        return MetricReports(
            self.metrics,
            keys,
            admins,
            version=__version__,
            instance=instance.id,
            children=instance.child_states,
            recorder=self._recorder if instance.runs == "express" else None,
            batches=batches,
        )

    async def close(self) -> None:
        """Write and send what is left."""
        if self.traces is not None:
            await self.traces.close()
        if self.metrics is not None:
            await self.metrics.close()

    async def _recorder(self) -> Mapping[str, Any] | None:
        try:
            return await recorder_stats(self._instance.recorder_socket, within=1.0)
        except (OSError, TimeoutError, ValueError):
            return None

    def workers(self) -> list[Mapping[str, Any]]:
        """Give how each web process is now; this one alone without metrics. It reads files."""
        if self.metrics is None:
            return [self._look()]
        return list(self.metrics.read()[1].values()) or [self._look()]

    def _look(self) -> dict[str, Any]:
        gateway = self._gateway
        if gateway is None:
            return {}
        return {
            "web": self._web,
            "streams_open": gateway.streams_open,
            "backends": [one.load() for one in self._all_lanes()],
            "under_way": [begun_line(one, self._scrubber) for one in gateway.under_way(UNDER_WAY)],
            "traces_queued": self.traces.queued if self.traces is not None else 0,
        }

    def _all_lanes(self) -> list[BackendLanes]:
        gateway = self._gateway
        if gateway is None:
            return []
        return [*gateway.backends.backends.values(), *gateway.universal.lanes]

    def _counters(self) -> dict[str, float]:
        traces = self.traces
        return {
            "refused": self._keys.refused if self._keys is not None else 0,
            "limited": self._limits.turned_away if self._limits is not None else 0,
            "runs_dropped": self._sink.dropped if self._sink is not None else 0,
            "traces_sent": traces.sent if traces is not None else 0,
            "traces_dropped": traces.dropped if traces is not None else 0,
            "traces_sampled_out": traces.sampled_out if traces is not None else 0,
        }
