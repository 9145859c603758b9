"""One chunk of a batch, under its lease: pages of requests in, groups of results out."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from tasks.batch import LeaseLost, StoreFailed
from tasks.batch_desk import BatchLeft
from tasks.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.batch_heart import Heart
    from coordinators.batch_items import Asker
    from coordinators.batch_watch import Watch
    from tasks.batch import BatchStore, FailedAttempt, Item, ItemResult, Lease

_log = structlog.get_logger("headgate.batches")
_PAGE = 500
_PAGE_BYTES = 4 << 20
_GROUP = 200
_GROUP_BYTES = 2 << 20
_GROUP_SECONDS = 0.5
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Kit:
    """What all chunks of a process work with.

    `owner` is this process's name in leases. `at_once` is how many requests of one chunk are in hand: some
    more than are sent at once, for those that wait to be sent again. `grace` is how many seconds the calls
    under way may take to end once the batch stops.
    """

    store: BatchStore
    asker: Asker
    heart: Heart
    owner: str
    at_once: int
    grace: float = 30.0


class ChunkRun:
    """Answers one chunk's requests. A chunk that somebody else has is not touched."""

    def __init__(self, kit: Kit, watch: Watch, chunk: int) -> None:
        self._kit = kit
        self._watch = watch
        self._chunk = chunk
        self._lost = False

    async def run(self) -> Mapping[str, int]:
        """Give how many requests came to each outcome; raises BatchLeft if others have it, StoreFailed.

        It returns when every request has a result, or when the batch stops: then what is done is recorded.
        """
        kit, batch = self._kit, self._watch.batch
        if not await self._watch.goes_on():
            return {}
        lease = await kit.store.lease_chunk(batch.id, self._chunk, kit.owner, kit.heart.seconds)
        if lease is None:
            return await self._theirs()
        counts: dict[str, int] = {}
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in one

        def lose() -> None:
            self._lost = True
            task.cancel()

        try:
            with kit.heart.holding(lease, lose):
                await self._until_done(lease, counts)
        except asyncio.CancelledError:
            if not self._lost:
                await _give_back(kit.store, lease)
                raise
            task.uncancel()
            raise BatchLeft("another process took the chunk") from None
        except LeaseLost:
            raise BatchLeft("another process took the chunk") from None
        except BaseException:
            await _give_back(kit.store, lease)
            raise
        return counts

    async def _theirs(self) -> Mapping[str, int]:
        states = {state.number: state for state in await self._kit.store.chunks(self._watch.batch.id)}
        if states[self._chunk].done:
            return {}
        raise BatchLeft("another process has the chunk")

    async def _until_done(self, lease: Lease, counts: dict[str, int]) -> None:
        store = self._kit.store
        for _ in range(_ROUNDS):
            await self._answer_items(lease, counts)
            if self._watch.stop is not None:
                break
            if await patiently(lambda: store.finish_chunk(lease)):
                return
        await _give_back(store, lease)

    async def _answer_items(self, lease: Lease, counts: dict[str, int]) -> None:
        """Go through the requests without a result once."""
        feed = _Feed(self._kit.store, lease)
        book = _Book(self._kit.store, lease, counts)
        hands = min(self._kit.at_once, lease.last - lease.first + 1)
        writing = asyncio.create_task(book.write())
        asking = {asyncio.create_task(self._hand(feed, book)) for _ in range(hands)}
        try:
            await self._all_done(asking, writing)
            await _cancelled(asking)
            book.ended = True
            await writing
        finally:
            await _cancelled({*asking, writing})
            await feed.close()

    async def _all_done(self, asking: set[asyncio.Task[None]], writing: asyncio.Task[None]) -> None:
        """Wait until all hands are empty; once the batch stops, no longer than calls under way may take."""
        left: set[asyncio.Task[None]] = set(asking)
        cut: float | None = None
        while left:
            if cut is None and self._watch.stop is not None:
                cut = time.monotonic() + self._kit.grace
            if cut is not None and time.monotonic() >= cut:
                return
            done, _ = await asyncio.wait(
                {*left, writing}, timeout=_GROUP_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            left -= done
            for task in done:
                task.result()

    async def _hand(self, feed: _Feed, book: _Book) -> None:
        watch, asker = self._watch, self._kit.asker
        while await watch.goes_on() and (item := await feed.next()) is not None:
            result = await asker.ask(watch.batch, item, watch, book.note)
            if result is not None:
                await book.add(result)


class _Feed:
    """A chunk's requests without a result, one at a time; the next page is fetched while one is used up."""

    def __init__(self, store: BatchStore, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self._page: list[Item] = []
        self._after = lease.first - 1
        self._turn = asyncio.Lock()
        self._coming: asyncio.Task[list[Item]] | None = None
        self._ended = False

    async def next(self) -> Item | None:
        """Give the next request, None at the end."""
        if not self._page and not self._ended:
            async with self._turn:
                if not self._page and not self._ended:
                    await self._turn_page()
        return self._page.pop() if self._page else None

    async def _turn_page(self) -> None:
        coming, self._coming = self._coming, None
        page = await (coming or self._fetch())
        if page:
            self._after = page[-1].seq
            self._page = page[::-1]
        self._ended = not page or self._after >= self._lease.last
        if not self._ended:
            self._coming = asyncio.create_task(self._fetch())

    async def _fetch(self) -> list[Item]:
        return await patiently(
            lambda: self._store.pending(self._lease, after=self._after, limit=_PAGE, most_bytes=_PAGE_BYTES)
        )

    async def close(self) -> None:
        """Fetch no more."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)


class _Book:
    """Results on their way into the store, in groups: many, much, or what half a second brings."""

    def __init__(self, store: BatchStore, lease: Lease, counts: dict[str, int]) -> None:
        self._store = store
        self._lease = lease
        self._counts = counts
        self._results: list[ItemResult] = []
        self._failed: list[FailedAttempt] = []
        self._bytes = 0
        self.ended = False
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def note(self, failed: FailedAttempt) -> None:
        """Keep a failed attempt for the next group."""
        self._failed.append(failed)

    async def add(self, result: ItemResult) -> None:
        """Keep a result for the next group; waits while the store is behind."""
        await self._room.wait()
        self._results.append(result)
        self._bytes += len(result.body)
        if len(self._results) >= _GROUP or self._bytes >= _GROUP_BYTES:
            self._full.set()
            self._room.clear()

    async def write(self) -> None:
        """Write groups until it has `ended` and everything is written; raises LeaseLost."""
        while not self.ended or self._results or self._failed:
            if not self.ended:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GROUP_SECONDS):
                        await self._full.wait()
            await self._flush()

    async def _flush(self) -> None:
        results, failed = self._results, self._failed
        self._results, self._failed, self._bytes = [], [], 0
        self._full.clear()
        if results or failed:
            await patiently(lambda: self._store.record(self._lease, results, failed))
        self._room.set()
        for result in results:
            self._counts[result.outcome] = self._counts.get(result.outcome, 0) + 1


async def _cancelled(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _give_back(store: BatchStore, lease: Lease) -> None:
    with suppress(StoreFailed):
        await store.release(lease)
