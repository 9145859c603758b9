"""Answers on disk: a diskcache of bytes in a folder of our own, shared by the processes of this machine.

Reads go past diskcache over a connection of their own: its least-recently-used policy would write, and wait
for the write lock, on every one. Uses are noted together instead (`note`). A read of a row takes microseconds
and is done where it is asked for; all else is done in a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import diskcache

from coordinators.bytes_cache import BytesCache, open_cache
from coordinators.cache_folder import CacheFolder
from coordinators.cache_store import Row, StoreFailed, Totals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from coordinators.bytes_disk import BytesDisk

T = TypeVar("T")

_READ_SECONDS = 0.02
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_GET = "SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1 AND expire_time > ?"


class DiskStore:
    """The store on disk (`Store`)."""

    kind = "disk"

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = CacheFolder(folder)
        self._size = size
        self._cache: BytesCache | None = None
        self._disk: BytesDisk | None = None
        self._reader: sqlite3.Connection | None = None
        self._broken = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-disk")

    async def open(self) -> None:
        """Open the store in its folder; one that is broken, or that diskcache did not make, is set aside."""
        await self._in_thread(self._open)

    async def get(self, key: bytes) -> bytes | None:
        """Give the value stored under `key`."""
        if self._reader is None or self._disk is None:
            raise StoreFailed("the store is not open", reopen=True)
        try:
            found = self._reader.execute(_GET, (key, time.time())).fetchone()
            return None if found is None else self._disk.fetch(*found)
        except FileNotFoundError:
            return None  # evicted between row and file
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    async def put(self, key: bytes, value: bytes, facts: bytes, seconds: float) -> int:
        """Store a value."""
        if len(value) > self._size:
            raise StoreFailed("the answer is larger than the store may be")

        def write(cache: BytesCache) -> int:
            before = cache.evicted
            cache.set(key, value, expire=seconds, tag=facts.decode())
            return cache.evicted - before

        return await self._with_cache(write)

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete answers."""
        return await self._with_cache(lambda cache: sum(cache.delete(key) for key in keys))

    async def rows(self) -> AsyncIterator[list[Row]]:
        """Give every answer, the first stored first."""
        after = 0
        while found := await self._with_cache(partial(BytesCache.rows, after=after)):
            after = found[-1][0]
            yield [
                Row(key, str(tag).encode(), size, expires, used)
                for _, key, tag, size, expires, used in found
                if type(key) is bytes
            ]

    async def note(self, used: Mapping[bytes, float], counts: Mapping[str, float]) -> None:
        """Write down uses and counts."""
        await self._with_cache(lambda cache: cache.note(used, counts))

    async def counts(self) -> dict[str, float]:
        """Give the counts of every process."""
        return await self._with_cache(BytesCache.counts)

    async def clean(self) -> int:
        """Delete what has expired, what is beyond the size, and files that a killed process left."""

        def clean(cache: BytesCache) -> int:
            gone = int(cache.cull())
            self._folder.remove_orphans(cache.files())
            return gone

        return await self._with_cache(clean)

    async def totals(self) -> Totals:
        """Say what the store holds."""
        return Totals(*await self._with_cache(BytesCache.size), self._size)

    def describe(self) -> dict[str, Any]:
        """Say where it is."""
        return {"kind": self.kind, "folder": str(self._folder.path)}

    async def close(self) -> None:
        """Close the database."""
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    def _open(self) -> None:
        self._close()
        with self._folder.locked():
            self._folder.prepare(broken=self._broken)
            self._cache = open_cache(self._folder.path, self._size)
            self._folder.opened()
        self._broken = False
        self._disk = self._cache.disk
        # Opened here, used by the event loop's thread alone.
        self._reader = sqlite3.connect(
            self._folder.database, timeout=_READ_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._reader.execute("PRAGMA query_only = 1")

    def _close(self) -> None:
        reader, cache = self._reader, self._cache
        self._reader = self._cache = None
        if reader is not None:
            reader.close()
        if cache is not None:
            cache.close()

    async def _with_cache(self, work: Callable[[BytesCache], T]) -> T:
        def run() -> T:
            if self._cache is None or self._folder.was_replaced():
                raise StoreFailed("the store's folder is another than was opened", reopen=True)
            return work(self._cache)

        return await self._in_thread(run)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreFailed:
        """Say what went wrong; a database that is none any more is to be set aside."""
        why = error.__context__ or error if isinstance(error, diskcache.Timeout) else error
        broken = getattr(why, "sqlite_errorcode", 0) & 0xFF in _BROKEN
        self._broken = self._broken or broken
        return StoreFailed(f"{type(why).__name__}: {why}"[:200], reopen=broken)
