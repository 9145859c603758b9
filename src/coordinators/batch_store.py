"""The store of batches, in SQLite or PostgreSQL: `tasks.batch.BatchStore`, in few transactions.

What the transactions do is in the files `batch_*` beside this one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Literal, Self

import structlog

from coordinators import batch_leases, batch_rates, batch_reading, batch_removal, batch_work
from coordinators.batch_drafts import SqlDraft, begin_draft, of_key
from coordinators.database import Database, finishing
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from tasks.batch import Batch, ChunkState, Draft, FailedAttempt, Item, ItemResult, Lease

_log = structlog.get_logger("headgate.batches")


class SqlBatchStore:
    """Batches in the database at `url` (see `database_of`), in chunks of `chunk` requests.

    `maker` names this process like an owner of leases: `forget` gives up its drafts if it is dead.
    """

    def __init__(self, url: str, *, chunk: int = 1000, maker: str | None = None) -> None:
        self.database = Database(url)
        self._chunk = chunk
        self._maker = maker
        self._left: set[int] = set()  # drafts that could not be deleted when they should

    async def open(self) -> None:
        """Connect, and bring the tables up to date; raises StoreFailed."""
        await self.database.open()

    async def close(self) -> None:
        """Close all connections."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- made and looked at by clients
    @asynccontextmanager
    async def creating(
        self,
        *,
        tenant: str,
        headers: Mapping[str, str],
        idempotency_key: str | None = None,
        label: str | None = None,
    ) -> AsyncIterator[Draft]:
        """Make a batch; leaving without a commit deletes what was added."""
        num, name = await self.database.write(begin_draft, tenant, headers, label, self._maker)
        draft = SqlDraft(self.database, num, name, self._chunk, (tenant, idempotency_key))
        try:
            yield draft
        finally:
            if not draft.committed:
                await finishing(self._give_up(num))

    async def get(self, batch_id: str, tenant: str | None = None) -> Batch | None:
        """Give a batch, of this tenant if one is named."""
        return await self.database.read(batch_reading.batch, batch_id, tenant)

    async def get_by_key(self, tenant: str, idempotency_key: str) -> Batch | None:
        """Give the batch that a tenant made with this key."""
        found = await self.database.read(of_key, tenant, idempotency_key)
        return None if found is None else found[0]

    async def page(
        self,
        tenant: str | None,
        *,
        before_id: str | None = None,
        after_id: str | None = None,
        limit: int = 20,
    ) -> tuple[list[Batch], bool]:
        """List batches, newest first, and say whether more follow in the direction asked for."""
        return await self.database.read(batch_reading.page, tenant, before_id, after_id, limit)

    async def is_mark(self, batch_id: str, tenant: str | None) -> bool:
        """Say whether this is the id of a batch that is in the list, or was until a day ago."""
        return await self.database.read(batch_reading.is_mark, batch_id, tenant)

    async def results(self, batch_id: str, *, after: int = -1, limit: int = 500) -> list[ItemResult]:
        """Give results in order, from behind `after`; none means the end."""
        return await self.database.read(batch_reading.result_page, batch_id, after, limit)

    async def failures(self, batch_id: str, *, limit: int = 50) -> list[ItemResult]:
        """Give the first results that errored."""
        return await self.database.read(batch_reading.failures, batch_id, limit)

    async def failed_items(self, batch_id: str, *, after: int = -1, limit: int = 200) -> list[Item]:
        """Give requests whose result is not a success, in order, from behind `after`; none means the end."""
        return await self.database.read(batch_reading.failed_items, batch_id, after, limit)

    async def cancel(self, batch_id: str) -> Batch | None:
        """Begin to cancel: `canceling` if it was in progress, otherwise as it is."""
        return await self.database.write(batch_work.cancel, batch_id)

    async def pause(self, batch_id: str, *, paused: bool) -> Batch | None:
        """Hold back, or let go on, what is not under way; only in progress."""
        return await self.database.write(batch_work.pause, batch_id, paused=paused)

    async def delete(self, batch_id: str) -> bool:
        """Delete an ended batch and all that belongs to it; False if there is none that has ended.

        Its id goes on being a mark in lists for a day.
        """
        num = await self.database.write(batch_removal.hide, batch_id)
        if num is None:
            return False
        with suppress(StoreFailed):  # it is out of sight, and a sweep goes on
            await batch_removal.remove(self.database, num)
        return True

    async def name(self) -> str:
        """Give the store's own name, a random one that tells it from every other store."""
        return await self.database.read(batch_reading.store_name)

    # -- executed
    async def open_batches(self) -> list[Batch]:
        """Give the batches that have not ended, oldest first."""
        return await self.database.read(batch_reading.open_batches)

    async def lease_batch(self, batch_id: str, owner: str, seconds: float) -> Lease | None:
        """Take a batch that has not ended and whose lease is free or over; None if it has an owner."""
        return await self.database.write(batch_leases.lease_batch, batch_id, owner, seconds)

    async def lease_chunk(self, batch_id: str, chunk: int, owner: str, seconds: float) -> Lease | None:
        """Take a chunk likewise; None too if it is done."""
        return await self.database.write(batch_leases.lease_chunk, batch_id, chunk, owner, seconds)

    async def renew(self, lease: Lease, seconds: float) -> None:
        """Hold a lease for longer; raises LeaseLost."""
        await self.database.write(batch_leases.renew, lease, seconds)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, if it is still ours."""
        await self.database.write(batch_leases.release, lease)

    async def forget(self, is_dead: Callable[[str], bool]) -> int:
        """Free the leases of owners that are dead, and give up their drafts; gives how many."""
        return await self.database.write(batch_leases.forget, is_dead)

    async def chunks(self, batch_id: str) -> list[ChunkState]:
        """Give all the chunks."""
        return await self.database.read(batch_leases.chunk_states, batch_id)

    async def pending(
        self, lease: Lease, *, after: int = -1, limit: int = 200, most_bytes: int = 8 << 20
    ) -> list[Item]:
        """Give a chunk's items without a result, in order from behind `after`; none means the end."""
        return await self.database.read(batch_work.pending, lease, after, limit, most_bytes)

    async def record(
        self, lease: Lease, results: Sequence[ItemResult], failed: Sequence[FailedAttempt] = ()
    ) -> None:
        """Record results in one transaction, under the chunk's lease; raises LeaseLost, recording nothing."""
        await self.database.write(batch_work.record, lease, results, failed)

    async def finish_chunk(self, lease: Lease) -> bool:
        """Mark the chunk done and give the lease back; False if some of its items have no result."""
        return await self.database.write(batch_work.finish_chunk, lease)

    async def close_out(self, lease: Lease, outcome: Literal["canceled", "expired"]) -> None:
        """Give every item without a result this one, chunk after chunk; raises LeaseLost."""
        for chunk in await self.database.write(batch_work.fence_off, lease):
            await self.database.write(batch_work.close_chunk, lease, chunk, outcome)

    async def end(self, lease: Lease) -> Batch | None:
        """End the batch if every item has a result; None if some have none. Raises LeaseLost."""
        return await self.database.write(batch_work.end, lease)

    async def set_flow_run(self, batch_id: str, flow_run: str) -> None:
        """Say which Prefect run executes the batch."""
        await self.database.write(batch_work.set_flow_run, batch_id, flow_run)

    async def reserve(self, name: str, amount: int, per_minute: int) -> float:
        """Take `amount` from a rate that all processes share: 0.0, or the seconds to wait."""
        return await self.database.write(batch_rates.reserve, name, amount, per_minute)

    async def sweep(self, *, keep_days: float) -> int:
        """Delete drafts whose maker is gone and batches that ended longer ago; give how many."""
        for num in list(self._left):
            await self.database.write(batch_removal.give_up, num)
            self._left.discard(num)
        swept = await self.database.write(batch_removal.hide_old, keep_days * 86400)
        for num in await self.database.read(batch_removal.hidden):
            await batch_removal.remove(self.database, num)
        await self.database.write(batch_removal.forget_marks)
        return swept

    async def _give_up(self, num: int) -> None:
        try:
            await self.database.write(batch_removal.give_up, num)
            await batch_removal.remove(self.database, num)
        except StoreFailed as error:
            self._left.add(num)
            _log.warning("a batch that was not made could not be deleted; it will be", because=str(error))
