"""What a batch's own work must know of it while it is under way: whether to go on, to wait, or to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tasks.batch import Batch

Stop: TypeAlias = Literal["canceled", "expired", "leaving", "lost"]


class Watch:
    """Follows one batch: `see` is told its newest state, those at work ask whether it goes on.

    `stop` says why no more requests are to be taken, once that is so: the batch was canceled or its time is
    over, this process ends (`leaving`), or somebody else has the batch (`lost`). The first reason stays,
    unless a later one is that the batch is lost.
    """

    def __init__(self, batch: Batch) -> None:
        self.stop: Stop | None = None
        self._stopped = asyncio.Event()
        self._running = asyncio.Event()
        self.see(batch)

    @property
    def paused(self) -> bool:
        """Whether the batch waits to be resumed."""
        return not self._running.is_set()

    def see(self, batch: Batch) -> None:
        """Take note of a newer state."""
        self.batch = batch
        if batch.paused:
            self._running.clear()
        else:
            self._running.set()
        if batch.status == "canceling":
            self.end("canceled")
        elif datetime.now(UTC) >= batch.expires_at:
            self.end("expired")

    def end(self, why: Stop) -> None:
        """Have no more requests taken."""
        if self.stop is None or why == "lost":
            self.stop = why
        self._stopped.set()

    async def goes_on(self) -> bool:
        """Wait while the batch is paused; False once it stops."""
        while self.stop is None and self.paused:
            await self._either_way()
        return self.stop is None

    async def _either_way(self) -> None:
        resumed = asyncio.ensure_future(self._running.wait())
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({resumed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            resumed.cancel()
            stopped.cancel()

    async def stopped_within(self, seconds: float) -> bool:
        """Wait so long, or until the batch stops; gives whether it does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        return self.stop is not None

    async def outlasts(self, work: Coroutine[Any, Any, None]) -> bool:
        """Await `work`, which is cancelled once the batch stops; gives whether it was done before."""
        doing, stopped = asyncio.create_task(work), asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                return False
            await doing
        finally:
            doing.cancel()
            stopped.cancel()
            await asyncio.gather(doing, stopped, return_exceptions=True)
        return True
