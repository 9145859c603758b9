"""The store of usage and client keys, in the database of the batches, in a thread of its own.

Migrations and statements cost Python's time, which a web process's event loop has none to spare of. In the
thread they take turns with it.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from coordinators import key_records, usage_records
from coordinators.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from coordinators.key_records import Version
    from coordinators.stored_keys import StoredKey
    from coordinators.usage import Parcel, Sums, Window

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View:
    """What the store has: the sums that limits are measured by, and the keys, if they changed."""

    windows: Mapping[Window, Sums]
    version: Version
    keys: list[StoredKey] | None


class UsageStore:
    """The store at `url` (see `database_of`). Methods raise StoreFailed; the next call tries anew."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._writer = secrets.token_hex(8)
        self._open = False
        self._turn = asyncio.Lock()

    async def exchange(self, parcel: Parcel | None, periods: Iterable[str], known: Version | None) -> View:
        """Store a parcel, once however often it is given, and give what the store then has.

        `known` is the version of the keys that the caller has.
        """
        database = await self._opened()
        if parcel is not None and (parcel.rows or parcel.windows):
            await database.check_room()
            await database.write(usage_records.record, self._writer, parcel)
        return await database.read(_look, list(periods), known)

    async def report(
        self, by: Sequence[str], since: str | None = None, until: str | None = None
    ) -> list[dict[str, Any]]:
        """Sum up by these names of `usage.PLACE`, for the days from `since` to `until`."""
        return await self.read(usage_records.report, by, since, until)

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
        """Run `work` in a transaction that only reads."""
        return await (await self._opened()).read(work, *args, **more)

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **more: P.kwargs
    ) -> T:
        """Run `work` in a transaction, which is whole or not at all."""
        return await (await self._opened()).write(work, *args, **more)

    async def close(self) -> None:
        """Close all connections."""
        async with self._turn:
            self._open = False
            await self._database.close()

    async def _opened(self) -> Database:
        async with self._turn:  # an opening that was given up may take a while to end
            if not self._open:
                await self._database.open()
                self._open = True
        return self._database


def _look(connection: Connection, periods: list[str], known: Version | None) -> View:
    version = key_records.version(connection)
    changed = version != known
    return View(
        usage_records.read_windows(connection, periods),
        version,
        key_records.read_all(connection) if changed else None,
    )


class LoopThread:
    """A thread with an event loop, for work that is not to hold up another loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the thread's loop, and wait for it; a caller that is cancelled cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def close(self, seconds: float) -> None:
        """End the thread, and wait for it so long; what runs in it is cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, seconds)
