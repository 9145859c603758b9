"""What the gateway does by the clock: `python -m headgate.maintenance`, kept running by the supervisor.

Every five minutes the cache is cleaned: as a flow that the Prefect server schedules and shows, if there is a
server and it answers; else by this process's own clock, and nothing of Prefect is even imported.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import structlog

from headgate.cache import assemble_store
from headgate.instance import Instance
from headgate.logs import configure_logs
from headgate.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from coordinators.cache_store import Store

_log = structlog.get_logger("headgate.maintenance")

EVERY = 300.0
LOOK = 15.0
"""Seconds between looks at the schedule. The first one is after this long, when the start is over."""

_LONGEST = 120.0
_NICENESS = 10


class Cleaner:
    """Cleans the store when the schedule says so, and by the clock when it says nothing for too long.

    `ask` runs the flow on a store if the Prefect server says that it is time, and says whether it did.
    """

    def __init__(
        self, make_store: Callable[[], Store], ask: Callable[[Store], Awaitable[bool]] | None
    ) -> None:
        self._make_store = make_store
        self._ask = ask
        self._last = time.monotonic()

    async def look(self, now: float) -> None:
        """Clean if it is time; whatever goes wrong is logged."""
        if self._ask is not None and await self._tried(self._ask):
            self._last = now
        elif now - self._last >= EVERY + (2 * LOOK if self._ask is not None else 0):
            self._last = now
            await self._tried(clean)

    async def _tried(self, work: Callable[[Store], Awaitable[bool]]) -> bool:
        try:
            async with asyncio.timeout(_LONGEST):
                return await work(self._make_store())
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many; the clock goes on
            _log.warning("cleaning failed", error=type(error).__name__, because=str(error)[:200])
            return False


async def clean(store: Store) -> bool:
    """Clean without Prefect."""
    await store.open()
    try:
        _log.info("cache cleaned", entries=await store.clean())
    finally:
        await store.close()
    return True


def scheduled() -> Callable[[Store], Awaitable[bool]]:
    """Give what cleans by the Prefect server's schedule."""
    from coordinators.schedule import Schedule  # noqa: PLC0415 - seconds: not without a server
    from flows.maintenance import clean_cache  # noqa: PLC0415 - likewise

    name = f"every-{EVERY / 60:g}-minutes-on-{socket.gethostname()}"
    return Schedule(clean_cache, name, EVERY).run_due


async def run() -> None:
    """Look after the store until standard input ends: the parent holds its other end."""
    settings, instance = load_settings(), Instance.from_environment()
    configure_logs(settings.log_level)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    cleaner: Cleaner | None = None
    while not (await asyncio.wait({ended}, timeout=LOOK))[0]:
        if cleaner is None:
            ask = scheduled() if instance.runs != "off" else None
            cleaner = Cleaner(lambda: assemble_store(settings), ask)
        await cleaner.look(time.monotonic())


if __name__ == "__main__":
    os.nice(_NICENESS)
    asyncio.run(run())
