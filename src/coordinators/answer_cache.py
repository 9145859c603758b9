"""The answer cache: who may use it, what it holds, what it counts. Its store may fail; no request does by it.

use = cache.consider(exchange, tenant)   # None: this request has nothing to do with the cache
exchange.cache = use                     # the flow looks up, shares and stores through it
answer.headers |= use.headers            # x-headgate-cache, age
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from coordinators.cache_counts import CacheCounts
from coordinators.cache_store import StoreFailed
from coordinators.cache_use import Use
from coordinators.flights import Flights
from coordinators.prices import Prices
from wire.cache_directive import from_headers
from wire.timeline import Junk, decode, encode
from wire.unfold import fold_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from coordinators.cache_settings import CacheSettings
    from coordinators.cache_store import Store
    from tasks.exchange import Exchange
    from wire.cache_directive import Directive
    from wire.messages import Json
    from wire.timeline import Entry, Tick

_log = structlog.get_logger("headgate.cache")

NOTE_SECONDS = 2.0
"""How long uses and counts wait to be written together."""

COUNT_SECONDS = 30.0
"""How long counts wait that come from requests without a part in the cache: the store is opened for them."""

PAUSE_SECONDS = 5.0
"""How long requests go on uncached after the store failed."""

OPENING_SECONDS = 0.5
"""How long a request waits for the store to be opened."""

_MOST_PENDING = 64 * 1024 * 1024


class AnswerCache:
    """Stored answers of one web process; several processes may share one store.

    `prices` say what an answer cost if the upstream does not: it is what a hit saves.
    """

    def __init__(self, settings: CacheSettings, store: Store, prices: Prices | None = None) -> None:
        self.prices = prices or Prices({})
        self.settings = settings
        self.store = store
        self.counts = CacheCounts()
        self.flights = Flights()
        self.refreshing: set[bytes] = set()
        self.trouble: str | None = None
        self._opening: asyncio.Task[None] | None = None
        self._resume_at = 0.0
        self._used: dict[bytes, float] = {}
        self._pending: dict[bytes, asyncio.Task[None]] = {}
        self._pending_size = 0
        self._noting: asyncio.TimerHandle | None = None
        self._counting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._packing = ThreadPoolExecutor(1, thread_name_prefix="cache-packing")

    def tenant(self, name: str) -> str:
        """Give the digest that stands for a tenant in keys and in the store."""
        if self.settings.shared:
            return "shared"
        return hashlib.sha256(b"headgate tenant " + name.encode()).hexdigest()[:16]

    def consider(self, exchange: Exchange, tenant: str) -> Use | None:
        """Give the cache's part in a request; None if it has none. InvalidRequest for a wrong header."""
        directive = from_headers(exchange.headers)
        if directive.mode is None:
            if not self.settings.on:
                return None
            directive = replace(directive, mode="on")
        return self.take(exchange, tenant, directive)

    def take(self, exchange: Exchange, tenant: str, directive: Directive) -> Use:
        """Give the cache's part in a request that says how the cache is used."""
        return Use(self, directive, self.tenant(tenant), exchange)

    async def read(self, key: bytes, unpack: Callable[[Entry], None]) -> Entry | None:
        """Give what is stored under the key, unpacked; None too if the store cannot say, or holds junk."""
        if (writing := self._pending.get(key)) is not None:
            await asyncio.wait({writing}, timeout=1.0)
        if not await self.ready():
            return None
        started = time.perf_counter()
        try:
            value = await self.store.get(key)
            entry = None if value is None else decode(key, value)
            if entry is not None:
                unpack(entry)
        except Junk as junk:
            self.counts.add("refused")
            _log.warning("stored answer refused", because=str(junk), key=key.hex()[:16])
            self._spawn(self._discard(key))
            return None
        except StoreFailed as error:
            self.fail(error, pause=not error.reopen)
            return None
        self.counts.latencies["miss" if entry is None else "hit"].append(time.perf_counter() - started)
        self._note_soon()
        return entry

    def hit(self, key: bytes, entry: Entry) -> None:
        """Count a hit, and note that the entry was used."""
        self.counts.add("hits")
        self.counts.saved(entry.facts.get("summary") or {})
        self._used[key] = time.time()
        self._note_soon()

    def asked_upstream(self, summary: Mapping[str, Any]) -> None:
        """Count the usage of an answer that came from upstream, for the store to have before long."""
        self.counts.asked_upstream(summary)
        if self._counting is None:
            self._counting = asyncio.get_running_loop().call_later(COUNT_SECONDS, self._start_noting)

    def keep(self, key: bytes, facts: Json, message: bytes, ticks: list[Tick], *, seconds: float) -> None:
        """Store an answer in the background, for so many seconds. Too many at once: some are left out."""
        size = len(message) + sum(len(tick.data) for tick in ticks)
        if seconds <= 0 or self._pending_size + size > _MOST_PENDING:
            self.counts.add("not_stored")
            return
        self._pending_size += size
        task = self._spawn(self._write(key, facts, message, ticks, seconds))
        self._pending[key] = task

        def written(_: object) -> None:
            self._pending_size -= size
            if self._pending.get(key) is task:
                del self._pending[key]

        task.add_done_callback(written)

    async def _write(
        self, key: bytes, facts: Json, message: bytes, ticks: list[Tick], seconds: float
    ) -> None:
        if not await self.ready():
            self.counts.add("not_stored")
            return
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        value, told = await loop.run_in_executor(self._packing, packed, key, facts, message, ticks)
        try:
            self.counts.add("evicted", await self.store.put(key, value, told, seconds))
        except StoreFailed as error:
            self.counts.add("not_stored")
            self.fail(error)
            return
        self.trouble = None
        self.counts.add("stored")
        self.counts.latencies["write"].append(time.perf_counter() - started)
        self._note_soon()

    @property
    def idle(self) -> bool:
        """Whether nobody needed the store yet."""
        return self._opening is None and self.trouble is None

    async def ready(self) -> bool:
        """Open the store if it is not; false while it cannot be used, or takes long to open."""
        if self._opening is None:
            if time.monotonic() < self._resume_at:
                return False
            self._opening = asyncio.create_task(self._open())
        opening = self._opening
        if not opening.done():
            await asyncio.wait({opening}, timeout=OPENING_SECONDS)
            if not opening.done():
                return False
        if (error := opening.exception()) is None:
            return True
        self.fail(error if isinstance(error, StoreFailed) else StoreFailed(repr(error)), pause=True)
        return False

    async def _open(self) -> None:
        await self.store.open()
        self.trouble = None

    async def usable(self) -> Store:
        """Give the store, open; raises StoreFailed."""
        if not await self.ready():
            raise StoreFailed(self.trouble or "the store is being opened")
        return self.store

    def fail(self, error: StoreFailed, *, pause: bool = False) -> None:
        """Note that the store failed; after a pause, in which requests go on uncached, it is opened anew."""
        self.counts.add("failures")
        if self.trouble != str(error):
            self.trouble = str(error)
            _log.warning("cache store failed, requests go on uncached", because=self.trouble)
        if pause or error.reopen:
            self._opening = None
            self._resume_at = time.monotonic() + PAUSE_SECONDS if pause else 0.0

    async def _discard(self, key: bytes) -> None:
        try:
            await self.store.delete([key])
        except StoreFailed as error:
            self.fail(error)

    def _note_soon(self) -> None:
        if self._noting is None:
            self._noting = asyncio.get_running_loop().call_later(NOTE_SECONDS, self._start_noting)

    def _start_noting(self) -> None:
        self._spawn(self.note())

    async def note(self) -> None:
        """Write what was used and counted since the last time."""
        for timer in (self._noting, self._counting):
            if timer is not None:
                timer.cancel()
        self._noting = self._counting = None
        used, self._used = self._used, {}
        counts = self.counts.take()
        try:
            if (used or counts) and await self.ready():
                await self.store.note(used, counts)
                return
        except StoreFailed as error:
            self.fail(error)
        self.counts.give_back(counts)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settled(self) -> None:
        """Wait until everything that is being stored is stored."""
        while self._pending:
            await asyncio.wait(list(self._pending.values()))

    async def close(self) -> None:
        """Store what is being stored, write the counts, and let go of the store."""
        await self.settled()
        await self.note()
        if self._opening is not None:
            await self.store.close()
        self._packing.shutdown(wait=False)


def packed(key: bytes, facts: Json, message: bytes, ticks: Iterable[Tick]) -> tuple[bytes, bytes]:
    """Give the value to store, and its facts by themselves. Off the event loop: it folds and compresses."""
    ticks = list(ticks)
    size = len(message) + sum(len(tick.data) for tick in ticks)
    if not message:
        folded = fold_bytes(b"".join(tick.data for tick in ticks))
        message = b"" if folded is None else orjson.dumps(folded)
    facts = {**facts, "bytes": size}
    return encode(key, facts, message, ticks), orjson.dumps(facts)
