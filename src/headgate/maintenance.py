"""What the gateway does by the clock: `python -m headgate.maintenance`, kept running by the supervisor.

Every five minutes the cache is cleaned, every hour the log folder and the captured requests, and old usage is
summed up: as flows that the Prefect server schedules and shows, if there is a server and it answers; else by
this process's own clock, and nothing of Prefect is even imported. Batches that are
scheduled there are begun by this process as well (`headgate.scheduling`), and it closes the runs of batches
whose processes were killed (`headgate.orphans`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import structlog
from httpx import TransportError

from coordinators.server_folder import OldFolders
from express.niceness import give_way
from headgate.cache import assemble_store
from headgate.capture_parts import folder_of
from headgate.instance import Instance
from headgate.log_lines import adopt_loggers
from headgate.logs import configure_logs
from headgate.orphans import follow_orphans, orphans_of
from headgate.parent import follow_parent
from headgate.recording import scrubber_of, start_recording, watch
from headgate.scheduling import follow, scheduled_batches
from headgate.settings import load_settings
from headgate.usage_parts import UsageFolding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from coordinators.cache_store import Store
    from coordinators.captures import CaptureFolder

T = TypeVar("T")

_log = structlog.get_logger("headgate.maintenance")

EVERY = 300.0
LOGS_EVERY = 3600.0
LOOK = 15.0
"""Seconds between looks at the schedule. The first one is after this long, when the start is over."""

_LONGEST = 120.0
_NICENESS = 10


class Leftovers(NamedTuple):
    """What is cleaned every hour: folders of servers that ended, and captured requests."""

    folders: OldFolders
    captures: CaptureFolder


class Cleaner(Generic[T]):
    """Cleans something when the schedule says so, and by the clock when it says nothing for too long.

    `ask` runs the flow on it if the Prefect server says that it is time, and says whether it did; `by_hand`
    cleans without a flow. `note` is told of what goes wrong.
    """

    def __init__(
        self,
        make: Callable[[], T],
        ask: Callable[[T], Awaitable[bool]] | None,
        by_hand: Callable[[T], Awaitable[bool]],
        *,
        every: float = EVERY,
        note: Callable[[Exception], str] | None = None,
    ) -> None:
        self._make = make
        self._ask = ask
        self._by_hand = by_hand
        self._every = every
        self._note = note
        self._last = time.monotonic()

    async def look(self, now: float) -> None:
        """Clean if it is time; whatever goes wrong is logged."""
        if self._ask is not None and await self._tried(self._ask):
            self._last = now
        elif now - self._last >= self._every + (2 * LOOK if self._ask is not None else 0):
            self._last = now
            await self._tried(self._by_hand)

    async def _tried(self, work: Callable[[T], Awaitable[bool]]) -> bool:
        try:
            async with asyncio.timeout(_LONGEST):
                return await work(self._make())
        except TransportError as error:  # it is coming up, or it is gone: the clock does it
            _log.debug("no Prefect server answers", error=type(error).__name__)
            return False
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many; the clock goes on
            known = self._note(error) if self._note is not None else None
            _log.warning(
                "cleaning failed", error=type(error).__name__, because=str(error)[:200], error_hash=known
            )
            return False


async def clean(store: Store) -> bool:
    """Clean without Prefect."""
    await store.open()
    try:
        _log.info("cache cleaned", entries=await store.clean())
    finally:
        await store.close()
    return True


async def clean_folders(old: Leftovers) -> bool:
    """Delete old log folders and captures without Prefect."""
    _log.info(
        "log folders cleaned",
        folders=await asyncio.to_thread(old.folders.delete),
        captures=await asyncio.to_thread(old.captures.delete),
    )
    return True


async def fold(usage: UsageFolding) -> bool:
    """Sum up old usage without Prefect."""
    _log.info("usage summed up", rows=await usage.fold())
    return True


def scheduled() -> tuple[
    Callable[[Store], Awaitable[bool]],
    Callable[[Leftovers], Awaitable[bool]],
    Callable[[UsageFolding], Awaitable[bool]],
]:
    """Give what cleans the cache, the log folder and old usage by the Prefect server's schedule."""
    from coordinators.schedule import Schedule  # noqa: PLC0415 - seconds: not without a server
    from flows.maintenance import clean_cache, clean_logs, fold_usage  # noqa: PLC0415 - likewise

    adopt_loggers(logging.WARNING)  # Prefect has set up its own by now
    where = f"minutes-on-{socket.gethostname()}"
    logs = Schedule(clean_logs, f"every-{LOGS_EVERY / 60:g}-{where}", LOGS_EVERY)
    return (
        Schedule(clean_cache, f"every-{EVERY / 60:g}-{where}", EVERY).run_due,
        lambda old: logs.run_due(*old),
        Schedule(fold_usage, f"every-{LOGS_EVERY / 60:g}-{where}", LOGS_EVERY).run_due,
    )


async def run() -> None:
    """Look after the store until standard input ends: the parent holds its other end."""
    settings, instance = load_settings(), Instance.from_environment()
    configure_logs(settings.log_level, scrubber_of(settings))
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    follow_parent(partial(ended.set_result, b""))
    recording = start_recording(settings, instance, "maintenance")
    errors = recording.errors
    watch(asyncio.get_running_loop(), errors)
    folders = OldFolders(settings.log_dir.absolute(), keep=settings.log_keep, days=settings.log_keep_days)
    old = Leftovers(folders, folder_of(settings))
    cache: Cleaner[Store] | None = None
    logs: Cleaner[Leftovers] | None = None
    following: list[asyncio.Task[None]] = []
    usage: Cleaner[UsageFolding] | None = None
    while not (await asyncio.wait({ended}, timeout=LOOK))[0]:
        if cache is None or logs is None or usage is None:
            ask_cache, ask_logs, ask_usage = scheduled() if instance.runs != "off" else (None, None, None)
            note = partial(errors.note, crashed=True)
            cache = Cleaner(lambda: assemble_store(settings), ask_cache, clean, note=note)
            logs = Cleaner(lambda: old, ask_logs, clean_folders, every=LOGS_EVERY, note=note)
            usage = Cleaner(lambda: UsageFolding(settings), ask_usage, fold, every=LOGS_EVERY, note=note)
            await clean_folders(old)
            if instance.runs != "off":
                following = [
                    asyncio.create_task(follow(scheduled_batches(settings), ended)),
                    asyncio.create_task(follow_orphans(orphans_of(settings), ended)),
                ]
        await cache.look(time.monotonic())
        await logs.look(time.monotonic())
        await usage.look(time.monotonic())
    if following:
        # A scheduled batch under way is left, not ended: Prefect would take that for a crash. The next
        # process of this kind sees that this one is gone, and goes on with it.
        recording.close()
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    give_way(_NICENESS)
    asyncio.run(run())
