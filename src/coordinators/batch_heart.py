"""Holds this process's leases: a heartbeat renews them, and says so to their holders when one is lost."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import structlog

from tasks.batch import LeaseLost, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.batch import Lease

_log = structlog.get_logger("headgate.batches")


class _Renews(Protocol):
    async def renew(self, lease: Lease, seconds: float) -> None: ...


class Heart:
    """Renews every lease held, three times in the `seconds` that one lasts.

    While the store fails a lease is held for as long as it lasts, and is lost then: somebody may have it.
    """

    def __init__(self, store: _Renews, seconds: float) -> None:
        self._store = store
        self.seconds = seconds
        self._held: dict[Lease, Callable[[], None]] = {}
        self._until: dict[Lease, float] = {}
        self._beating: asyncio.Task[None] | None = None

    @contextmanager
    def holding(self, lease: Lease, lost: Callable[[], None]) -> Iterator[None]:
        """Hold a lease that was just taken; `lost` is called, once, when it is."""
        self._held[lease] = lost
        self._until[lease] = time.monotonic() + self.seconds
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            self.forget(lease)

    def forget(self, lease: Lease) -> None:
        """Hold a lease no longer, whose object has ended with it."""
        self._held.pop(lease, None)
        self._until.pop(lease, None)

    async def close(self) -> None:
        """Beat no more."""
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.seconds / 3)
            for lease in list(self._held):
                await self._renew(lease)

    async def _renew(self, lease: Lease) -> None:
        asked = time.monotonic()
        try:
            await self._store.renew(lease, self.seconds)
        except LeaseLost:
            self._lose(lease)
        except StoreFailed as error:
            _log.warning(
                "lease not renewed", batch=lease.batch_id, chunk=lease.chunk, because=str(error)[:200]
            )
            if time.monotonic() >= self._until.get(lease, 0.0):
                self._lose(lease)
        else:
            if lease in self._until:
                self._until[lease] = asked + self.seconds

    def _lose(self, lease: Lease) -> None:
        lost = self._held.pop(lease, None)
        self._until.pop(lease, None)
        if lost is not None:
            _log.warning("lease lost", batch=lease.batch_id, chunk=lease.chunk)
            lost()
