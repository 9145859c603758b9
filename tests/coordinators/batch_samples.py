"""Batches and results for tests of their store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from coordinators.batch_tables import attempts, batches, chunks, items, results
from tasks.batch import ItemResult, NewItem

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from coordinators.batch_store import SqlBatchStore
    from tasks.batch import Batch, Lease, Outcome

EXPIRES = datetime(2100, 1, 1, tzinfo=UTC)
ROWS = (batches, items, results, attempts, chunks)
NOTHING = {"batches": 0, "batch_items": 0, "batch_results": 0, "batch_attempts": 0, "batch_chunks": 0}


def new_items(count: int, first: int = 0, size: int = 20) -> list[NewItem]:
    return [NewItem(f"item-{seq}", b'{"n":"' + b"x" * size + b'"}') for seq in range(first, first + count)]


async def make(
    store: SqlBatchStore, count: int = 10, *, tenant: str = "tenant", key: str | None = None, size: int = 20
) -> Batch:
    async with store.creating(
        tenant=tenant, headers={"anthropic-version": "2023-06-01"}, idempotency_key=key, label="a file"
    ) as draft:
        await draft.add(new_items(count, size=size))
        return await draft.commit(digest=f"digest of {count}", expires_at=EXPIRES)


def result(seq: int, outcome: Outcome = "succeeded", **more: object) -> ItemResult:
    facts = {"body": b'{"seq":%d}' % seq, "input_tokens": 3, "output_tokens": 5, "cost": 0.25} | more
    return ItemResult(seq, f"item-{seq}", outcome, **facts)  # type: ignore[arg-type]


async def chunk_of(store: SqlBatchStore, batch: Batch, chunk: int = 0, owner: str = "us") -> Lease:
    lease = await store.lease_chunk(batch.id, chunk, owner, 60)
    assert lease is not None
    return lease


async def batch_lease(store: SqlBatchStore, batch: Batch, owner: str = "us") -> Lease:
    lease = await store.lease_batch(batch.id, owner, 60)
    assert lease is not None
    return lease


async def ended(store: SqlBatchStore, batch: Batch) -> Batch:
    lease = await batch_lease(store, batch)
    await store.close_out(lease, "expired")
    done = await store.end(lease)
    assert done is not None
    return done


async def rows(store: SqlBatchStore) -> dict[str, int]:
    """Count all rows there are."""

    def count(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in ROWS
        }

    return await store.database.read(count)


def days(number: float) -> timedelta:
    return timedelta(days=number)
