"""Shares with the store, every couple of seconds: usage and counts go there, keys and others' counts come."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import structlog

from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from coordinators.key_records import Version
    from coordinators.keys import ClientKeys
    from coordinators.limits import Limits
    from coordinators.usage import Parcel, Usage
    from coordinators.usage_store import LoopThread, UsageStore, View

_log = structlog.get_logger("headgate.usage")

EVERY = 2.0
_LONGEST_PAUSE = 30.0
_START_SECONDS = 5.0
_LAST_SECONDS = 5.0
_LEAST_SECONDS = 1.0


class UsageSharing:
    """Keeps usage, limits and keys of this process and the store alike.

    `make` opens the way to the store; it is called when there is something to store, or `there` says that
    there is a store. `marker` is a file that says that there are keys: while they cannot be read, nobody else
    is let in. `always_closed` does so without it.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[tuple[LoopThread, UsageStore]]],
        there: Callable[[], bool],
        usage: Usage,
        limits: Limits,
        keys: ClientKeys,
        *,
        marker: Path,
        always_closed: bool,
    ) -> None:
        self._make = make
        self._there = there
        self._usage = usage
        self._limits = limits
        self._keys = keys
        self._marker = marker
        self._always_closed = always_closed
        self._reaching = asyncio.Lock()
        self._way: tuple[LoopThread, UsageStore] | None = None
        self._parcel: Parcel | None = None
        self._version: Version | None = None
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> Literal["idle", "ok", "down"]:
        """How the store is; `idle` while nobody needed it yet."""
        return "down" if self._failed else "idle" if self._way is None else "ok"

    async def start(self) -> None:
        """Read the keys, so that none is missing from the first request on, and begin to share."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._share()
        except (StoreFailed, TimeoutError) as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a mistake here must not keep the server from starting
            _log.exception("usage was not shared")
            self._fail(error)
        self._task = asyncio.create_task(self._keep_sharing())

    async def close(self) -> None:
        """Share for the last time, and close; what hangs is left to end with the process."""
        ends = asyncio.get_running_loop().time() + _LAST_SECONDS
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        try:
            async with asyncio.timeout_at(ends):
                await self._share()
                if self._usage.waiting:
                    await self._share()  # the parcel before had failed
        except (StoreFailed, TimeoutError) as error:
            _log.error("usage was not stored", because=str(error) or "it did not answer in time")
        except Exception:  # noqa: BLE001 - a mistake here must not keep the rest from being closed
            _log.exception("usage was not stored")
        if self._way is not None:
            await self._close_way(*self._way, ends)

    async def _close_way(self, thread: LoopThread, store: UsageStore, ends: float) -> None:
        """Close the store and its thread in the time that is left, and a second each at least."""
        try:
            async with asyncio.timeout_at(max(ends, asyncio.get_running_loop().time() + _LEAST_SECONDS)):
                await thread.run(store.close())
        except Exception as error:  # noqa: BLE001 - likewise
            _log.warning("the store of usage was not closed", because=type(error).__name__)
        await thread.close(_LEAST_SECONDS)

    async def report(
        self, by: Sequence[str], since: str | None = None, until: str | None = None
    ) -> list[dict[str, Any]]:
        """Sum up what is stored by these names of `usage.PLACE`, for days (UTC); raises StoreFailed."""
        if self._way is None and not self._there():
            return []
        thread, store = await self._reached()
        return await thread.run(store.report(by, since, until))

    async def _reached(self) -> tuple[LoopThread, UsageStore]:
        async with self._reaching:
            if self._way is None:
                self._way = await self._make()
        return self._way

    async def _keep_sharing(self) -> None:
        pause = EVERY
        while True:
            await asyncio.sleep(pause)
            try:
                await self._share()
            except StoreFailed as error:
                self._fail(error)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001 - a mistake here must not end it for all that follows
                _log.exception("usage was not shared")
                self._fail(error)
                pause = _LONGEST_PAUSE
            else:
                pause = EVERY

    async def _share(self) -> None:
        """Go to the store once; raises StoreFailed. What was to be stored is then kept for the next time."""
        if not self._usage.waiting and self._parcel is None and not self._there():
            return
        thread, store = await self._reached()
        if self._parcel is None and self._usage.waiting:
            self._parcel = self._usage.take()
        view = await thread.run(store.exchange(self._parcel, self._limits.periods(), self._version))
        self._parcel = None
        self._limits.share(view.windows)
        self._learn(view)
        if self._failed:
            _log.info("the store of usage is back")
            self._failed = False

    def _learn(self, view: View) -> None:
        self._version = view.version
        if view.keys is None:
            self._keys.confirm()
            return
        self._keys.know(view.keys)
        self._limits.know(view.keys)
        with suppress(OSError):
            if view.keys:
                self._marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._marker.touch(mode=0o600)
            else:
                self._marker.unlink(missing_ok=True)

    def _fail(self, error: Exception) -> None:
        if self._version is None and (self._always_closed or self._marker.exists()):
            self._keys.closed = True
        if not self._failed:
            _log.warning(
                "the store of usage and keys failed; it is tried again",
                because=str(error) or "it did not answer in time",
            )
        self._failed = True
