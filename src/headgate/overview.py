"""Assembly of what people look at: the overview, the health of the parts, the checks for Claude Code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinators.claude_code import ClaudeCode
from coordinators.daily_use import DailyUse
from coordinators.lately import Lately, RecentEndings, RequestTail
from coordinators.overview import Overview, Sources
from coordinators.overview_batches import BatchesLately
from coordinators.overview_page import Page
from headgate import __version__
from headgate.health import HealthParts
from headgate.recording import scrubber_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coordinators.gateway import Gateway
    from coordinators.health import Readiness
    from coordinators.http_upstream import HttpUpstream
    from coordinators.keys import AdminKeys
    from coordinators.lately import Source
    from coordinators.observing import Observer
    from coordinators.traces import Traces
    from headgate.batch_parts import BatchStoreOpener
    from headgate.instance import Instance
    from headgate.recording import Recording
    from headgate.settings import Settings
    from headgate.usage_parts import UsageParts


class OverviewParts:
    """These parts of one web process. Made before the gateway, begun when it is there.

    Requests are read from the request log, which all web processes write; without it each keeps its own last,
    if it is `watching`: what executes batches is not.
    """

    overview: Overview
    claude_code: ClaudeCode

    def __init__(
        self, settings: Settings, instance: Instance, recording: Recording, *, watching: bool
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._health: HealthParts | None = None
        self.observers: list[Observer] = []
        source: Source = RequestTail(recording.folder.requests)
        if watching and recording.requests is None:
            source = recent = RecentEndings(scrubber_of(settings))
            self.observers.append(recent)
        self._lately = Lately(source)

    def begin(
        self,
        gateway: Gateway,
        admins: AdminKeys,
        batches: BatchStoreOpener,
        *,
        usage: UsageParts,
        traces: Traces | None,
        lost: Callable[[], Mapping[str, int]],
        workers: Callable[[], Sequence[Mapping[str, Any]]],
        http: HttpUpstream,
        readiness: Readiness,
    ) -> None:
        """Begin to look at the other parts."""
        instance, settings = self._instance, self._settings
        sources = Sources(
            self._lately,
            settings.log_dir.absolute(),
            gateway.cache,
            BatchesLately(batches),
            workers=workers,
            check_health=gateway.health,
            use=DailyUse(usage.report, kept=settings.usage == "on"),
        )
        page = Page(
            version=__version__,
            instance=instance.id,
            ui_url=instance.prefect_ui_url if instance.runs != "off" else None,
            links=not settings.admin_keys,
        )
        self.overview = Overview(sources, page, admins, readiness)
        self.claude_code = ClaudeCode(gateway, admins, Path(instance.runtime_dir) / "claude-code.json")
        self._health = HealthParts(
            instance,
            gateway.backends,
            gateway.cache,
            batches,
            http,
            providers=gateway.universal.lanes,
            usage=usage,
            traces=traces,
            lost=lost,
            lately=self._lately,
            look=self.overview.look,
        )

    async def check_health(self, gateway: Gateway) -> dict[str, Any]:
        """Give what `/health/detailed` shows."""
        assert self._health is not None  # noqa: S101 - begun before the gateway is asked
        return await self._health.check(gateway)
