"""What executes batches: `python -m headgate.batches`, kept running by the supervisor.

It looks into the store for open batches. Nothing of Prefect, and none of the backends, is loaded before there
is one. It ends with its parent, whose pipe is its standard input; SIGTERM lets it end what is under way.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
import uvloop

from coordinators.batch_store import SqlBatchStore
from coordinators.database import database_of
from coordinators.owners import is_dead, this_owner
from express.niceness import give_way
from headgate import garbage
from headgate.instance import Instance
from headgate.logs import configure_logs
from headgate.parent import follow_parent
from headgate.recording import scrubber_of, watch
from headgate.settings import load_settings
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from headgate.settings import Settings

_log = structlog.get_logger("headgate.batches")

LOOK = 0.5
"""Seconds between looks at the store."""

SWEEP = 300.0
_NICENESS = 2
_LONGEST_PAUSE = 10.0


async def opened_store(settings: Settings, ended: asyncio.Event) -> SqlBatchStore | None:
    """Open the store, however often it takes; None if this process is to end before."""
    pause = 0.5
    while not ended.is_set():
        store = SqlBatchStore(database_of(settings), chunk=settings.batch_chunk, maker=this_owner())
        try:
            await store.open()
        except StoreFailed as error:
            _log.error("batches wait: the store cannot be opened", because=str(error)[:200], pause=pause)
            await within(pause, ended)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return store
    return None


async def within(seconds: float, ended: asyncio.Event) -> bool:
    """Wait so long, or until this process is to end; gives whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()
    return ended.is_set()


def end_on_signals(*, with_parent: bool) -> asyncio.Event:
    """Give the event that SIGTERM and SIGINT set, and the end of standard input if a parent holds it."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if with_parent:
        follow_parent(ended.set)
    return ended


class Batches:
    """Executes open batches, and looks after the store: leases of the dead, old batches."""

    def __init__(self, settings: Settings, instance: Instance, store: SqlBatchStore) -> None:
        self._settings = settings
        self._instance = instance
        self._store = store
        self._swept = 0.0

    async def run(self, ended: asyncio.Event) -> None:
        """Wait for the first open batch, and execute it and all that follow."""
        while not await self._look_for_work():
            if await within(LOOK, ended):
                return
        await self._execute(ended)

    async def _look_for_work(self) -> bool:
        try:
            await self._tidy()
            return bool(await self._store.open_batches())
        except StoreFailed as error:
            _log.warning("the store does not answer", because=str(error)[:200])
            await asyncio.sleep(LOOK)
            return False

    async def _tidy(self) -> None:
        if self._swept and time.monotonic() - self._swept < SWEEP:
            return
        if freed := await self._store.forget(is_dead):
            _log.info("leases of ended processes freed", count=freed)
        if swept := await self._store.sweep(keep_days=self._settings.batch_keep_days):
            _log.info("old batches deleted", count=swept)
        self._swept = time.monotonic()

    async def _execute(self, ended: asyncio.Event) -> None:
        from coordinators.batch_engine import BatchEngine  # noqa: PLC0415 - seconds: not before there is work
        from headgate.batch_kit import BatchParts, assemble_prefect  # noqa: PLC0415 - likewise

        parts = BatchParts(self._settings, self._instance, self._store)
        watch(asyncio.get_running_loop(), parts.errors)
        await parts.start()
        runs = assemble_prefect(self._settings, self._instance)
        engine = BatchEngine(parts.kit, runs, self._settings.work_pool)
        garbage.settle()
        caring = asyncio.create_task(self._care(ended))
        try:
            await engine.follow(LOOK, ended)
        finally:
            await engine.close()
            caring.cancel()
            await asyncio.gather(caring, return_exceptions=True)
            await parts.close()
            if runs is not None:
                await runs.thread.close()

    async def _care(self, ended: asyncio.Event) -> None:
        while not await within(SWEEP, ended):
            try:
                await self._tidy()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next time may do
                _log.warning("not tidied up", error=type(error).__name__, because=str(error)[:200])


async def main() -> None:
    """Execute batches until the parent ends or says so."""
    settings, instance = load_settings(), Instance.from_environment()
    configure_logs(settings.log_level, scrubber_of(settings))
    ended = end_on_signals(with_parent=True)
    store = await opened_store(settings, ended)
    if store is None:
        return
    try:
        await Batches(settings, instance, store).run(ended)
    finally:
        await store.close()


if __name__ == "__main__":
    give_way(_NICENESS)
    uvloop.run(main())
