"""The diskcache of stored answers, with what diskcache does not offer: uses and counts, and lists."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import diskcache
import orjson

from coordinators.bytes_disk import BytesDisk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_COUNTS = b"counts"  # the keys of answers are 32 bytes
_PAGE = 500
_WRITE_SECONDS = 10.0

_ROWS = (
    "SELECT rowid, key, tag, size + coalesce(length(value), 0), expire_time, access_time FROM Cache"
    " WHERE rowid > ? AND raw = 1 AND expire_time > ? ORDER BY rowid LIMIT ?"
)
_COUNTED = "SELECT value FROM Cache WHERE key = ? AND raw = 1 AND mode = 1"
_ALIVE = "SELECT count(*) FROM Cache WHERE expire_time > ?"
_TOUCH = (
    "UPDATE Cache SET access_time = max(access_time, ?), access_count = access_count + 1"
    " WHERE key = ? AND raw = 1"
)


class BytesCache(diskcache.Cache):  # type: ignore[misc]
    """The diskcache, with what it does not offer: uses and counts written in one transaction, and lists."""

    evicted = 0

    def note(self, used: Mapping[bytes, float], counts: Mapping[str, float]) -> None:
        """Write down uses, and add to the counts."""
        with self._transact(retry=False) as (sql, _):
            for key, when in used.items():
                sql(_TOUCH, (when, key))
            if counts:
                total = self.counts()
                for name, count in counts.items():
                    total[name] = total.get(name, 0) + count
                self.set(_COUNTS, orjson.dumps(total))

    def counts(self) -> dict[str, float]:
        """Give the counts so far; none of a row that holds something else."""
        found = self._sql(_COUNTED, (_COUNTS,)).fetchone()
        try:
            counts = orjson.loads(found[0]) if found else {}
        except (ValueError, TypeError):
            return {}
        return {name: float(n) for name, n in counts.items() if isinstance(n, int | float)}

    def rows(self, after: int) -> list[tuple[Any, ...]]:
        """Give the next rows of answers, in the order of their numbers."""
        found: list[tuple[Any, ...]] = self._sql(_ROWS, (after, time.time(), _PAGE)).fetchall()
        return found

    def size(self) -> tuple[int, int]:
        """Give the answers there are, and the bytes on disk."""
        ((entries,),) = self._sql(_ALIVE, (time.time(),)).fetchall()
        return entries, int(self.volume())

    def files(self) -> set[str]:
        """Name the files that rows speak of."""
        return {name for (name,) in self._sql("SELECT filename FROM Cache WHERE filename IS NOT NULL")}

    def _cull(self, now: float, sql: Any, cleanup: Any, limit: int | None = None) -> None:
        ((before,),) = sql("SELECT value FROM Settings WHERE key = 'count'").fetchall()
        super()._cull(now, sql, cleanup, limit)
        ((after,),) = sql("SELECT value FROM Settings WHERE key = 'count'").fetchall()
        self.evicted += before - after


def open_cache(folder: Path, size: int) -> BytesCache:
    """Open the diskcache in a folder, made if there is none; `size` in bytes."""
    return BytesCache(
        str(folder),
        timeout=_WRITE_SECONDS,
        disk=BytesDisk,
        eviction_policy="least-recently-used",
        size_limit=size,
        sqlite_mmap_size=0,  # a file that is cut while it is mapped ends the process
    )
