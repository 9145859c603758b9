"""Assembly: what a process that executes batches works with. It loads the backends, the flows and Prefect."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coordinators.batch_chunks import Kit
from coordinators.batch_heart import Heart
from coordinators.batch_items import Asker, Persistence
from coordinators.batch_pace import Pace
from coordinators.batch_refusals import Refusals
from coordinators.owners import this_owner
from headgate.app import Parts

if TYPE_CHECKING:
    from coordinators.error_log import ErrorLog
    from headgate.instance import Instance
    from headgate.settings import Settings
    from tasks.batch import BatchStore


class BatchParts:
    """The parts that answer a batch's requests; made within the event loop, closed at its end.

    A request is tried once at a time here, and again by the batch's own patience. It is not recorded as a run
    of its own: the chunk it belongs to is.
    """

    def __init__(
        self,
        settings: Settings,
        instance: Instance,
        store: BatchStore,
        persistence: Persistence | None = None,
    ) -> None:
        self._parts = Parts(
            settings.model_copy(update={"retries": 0}),
            replace(instance, runs="off"),
            quiet=True,
            name="batches",
        )
        self.kit = Kit(
            store=store,
            asker=Asker(
                self._parts.gateway.answer_item,
                places=asyncio.Semaphore(settings.batch_concurrency),
                pace=Pace(store, requests=settings.batch_rpm, tokens=settings.batch_tpm),
                persistence=persistence or Persistence(attempts=settings.batch_attempts),
                refusals=Refusals(self._parts.recording.errors),
            ),
            heart=Heart(store, settings.batch_lease),
            owner=this_owner(),
            at_once=settings.batch_concurrency + max(2, settings.batch_concurrency // 2),
            grace=settings.grace_seconds,
        )

    @property
    def errors(self) -> ErrorLog:
        """Where errors are noted."""
        return self._parts.recording.errors

    async def start(self) -> None:
        """Read prices and limits, before requests are answered."""
        await self._parts.usage.start()

    async def close(self) -> None:
        """Close the backends' connections."""
        await self._parts.close()


def assemble_prefect(settings: Settings, instance: Instance) -> Any:
    """Give what runs batches' flows under Prefect's engine, whose client it imports; None if runs are off."""
    if instance.runs == "off":
        return None
    from coordinators.batch_runs import BatchRuns  # noqa: PLC0415 - seconds: not without a server
    from coordinators.prefect_thread import PrefectThread  # noqa: PLC0415 - likewise

    return BatchRuns(PrefectThread(), patience=settings.batch_prefect_seconds)
