"""Executes the open batches of a store, some at a time, for as long as this process lives.

It imports Prefect, through the flows: seconds. Who only waits for work does not import this.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from coordinators.batch_execution import Execution
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordinators.batch_chunks import Kit
    from coordinators.batch_execution import Engine
    from tasks.batch import Batch

_log = structlog.get_logger("headgate.batches")
_MOST_BATCHES = 4
_AGAIN = 2.0


class BatchEngine:
    """Takes open batches by their leases. `look` is to be called every so often: it returns at once.

    Batches that are paused are held as well, so that they can be resumed where their run is shown, but beside
    the few that are executed together.
    """

    def __init__(self, kit: Kit, engine: Engine | None = None, pool: str | None = None) -> None:
        self._kit = kit
        self._engine = engine
        self._pool = pool
        self._running: dict[str, tuple[Execution, asyncio.Task[None]]] = {}
        self._not_before: dict[str, float] = {}
        self._leaving = False

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""
        return bool(self._running)

    async def look(self, batches: Sequence[Batch]) -> None:
        """Take note of the open batches, as the store gives them, and take those that are free."""
        seen = {batch.id for batch in batches}
        for batch in batches:
            if batch.id in self._running:
                self._running[batch.id][0].watch.see(batch)
            elif self._may_take(batch):
                await self._take(batch)
        for batch_id in self._running.keys() - seen:
            execution, _ = self._running[batch_id]
            if execution.counts is None:  # ended behind our back
                execution.watch.end("lost")
        self._not_before = {name: at for name, at in self._not_before.items() if name in seen}

    def _may_take(self, batch: Batch) -> bool:
        active = sum(not execution.watch.paused for execution, _ in self._running.values())
        return (
            not self._leaving
            and (batch.paused or active < _MOST_BATCHES)
            and time.monotonic() >= self._not_before.get(batch.id, 0.0)
        )

    async def _take(self, batch: Batch) -> None:
        kit = self._kit
        lease = await kit.store.lease_batch(batch.id, kit.owner, kit.heart.seconds)
        if lease is None:
            self._not_before[batch.id] = time.monotonic() + _AGAIN
            return
        _log.info("batch taken", batch=batch.id, items=batch.items, chunks=batch.chunks)
        execution = Execution(kit, batch, lease, self._engine, self._pool)
        task = asyncio.create_task(execution.run())
        self._running[batch.id] = execution, task
        task.add_done_callback(lambda done: self._ended(batch.id, done))

    def _ended(self, batch_id: str, task: asyncio.Task[None]) -> None:
        del self._running[batch_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("batch execution crashed", batch=batch_id, exc_info=error)
            self._not_before[batch_id] = time.monotonic() + _AGAIN

    async def follow(self, seconds: float, ended: asyncio.Event) -> None:
        """Look at the store every so many seconds until `ended`; a store that fails is looked at again."""
        while not ended.is_set():
            try:
                await self.look(await self._kit.store.open_batches())
            except StoreFailed as error:
                _log.warning("the store does not answer", because=str(error)[:200])
            try:
                async with asyncio.timeout(seconds):
                    await ended.wait()
            except TimeoutError:
                pass

    async def close(self) -> None:
        """Take no more, let the calls under way end, record what is done and give everything back."""
        self._leaving = True
        for execution, _ in self._running.values():
            execution.watch.end("leaving")
        await asyncio.gather(*(task for _, task in self._running.values()), return_exceptions=True)
        await self._kit.heart.close()
