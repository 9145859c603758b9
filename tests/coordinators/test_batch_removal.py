"""Batches and drafts deleted and swept, on SQLite and, in `make postgres`, on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from coordinators.batch_tables import batches
from tasks.batch import FailedAttempt, StoreFailed
from tests.coordinators.batch_samples import NOTHING, chunk_of, ended, make, new_items, result, rows

if TYPE_CHECKING:
    from sqlalchemy import Select

    from coordinators.batch_store import SqlBatchStore


async def test_deleting_leaves_nothing(store: SqlBatchStore) -> None:
    made, other = await make(store, 6), await make(store, 3)
    lease = await chunk_of(store, made)
    await store.record(lease, [result(0)], [FailedAttempt(1, 1, 0.0, 0.0, "api_error", "no")])
    assert await store.delete(made.id) is False
    await ended(store, made)
    assert await store.delete(made.id) is True
    assert await store.delete(made.id) is False
    assert await store.get(made.id) is None
    left = {"batches": 2, "batch_items": 3, "batch_results": 0, "batch_attempts": 0, "batch_chunks": 1}
    assert await rows(store) == left
    assert (await store.get(other.id)) == other
    mark = await store.database.read(lambda connection: connection.execute(of_batch(made.id)).one())
    assert (mark.state, mark.headers, mark.label, mark.digest) == ("gone", "{}", None, None)


async def test_a_deleted_batch_is_a_mark_between_pages_for_a_day(store: SqlBatchStore) -> None:
    made = [await make(store, 2, key=f"key {number}") for number in range(4)]
    for batch in made[:3]:
        await ended(store, batch)
    assert await store.delete(made[2].id)
    assert await store.delete(made[0].id)
    assert await store.is_mark(made[2].id, "tenant")
    assert not await store.is_mark(made[2].id, "other")
    assert not await store.is_mark("msgbatch_unheard_of", "tenant")
    assert ([one.id for one in (await store.page("tenant"))[0]]) == [made[3].id, made[1].id]
    assert [one.id for one in (await store.page("tenant", after_id=made[2].id))[0]] == [made[1].id]
    assert [one.id for one in (await store.page("tenant", before_id=made[0].id))[0]] == [
        made[3].id,
        made[1].id,
    ]
    assert await store.page("other", after_id=made[2].id) == ([], False)
    assert await store.failed_items(made[2].id) == await store.failures(made[2].id) == []
    assert await store.cancel(made[2].id) is await store.pause(made[2].id, paused=True) is None
    assert await store.lease_batch(made[2].id, "us", 60) is None
    again = await make(store, 1, key="key 2")
    assert await store.sweep(keep_days=1) == 0
    assert await store.is_mark(made[2].id, "tenant")

    past = update(batches).where(batches.c.id == made[2].id).values(archived_at=1.0)
    await store.database.write(lambda connection: connection.execute(past).rowcount)
    assert await store.sweep(keep_days=1) == 0
    assert not await store.is_mark(made[2].id, "tenant")
    assert await store.is_mark(made[0].id, "tenant")
    assert {one.id for one in (await store.page("tenant"))[0]} == {made[3].id, made[1].id, again.id}


def of_batch(batch_id: str) -> Select[Any]:
    return select(batches).where(batches.c.id == batch_id)


async def test_sweeping_deletes_what_is_old_and_drafts_without_a_maker(store: SqlBatchStore) -> None:
    old, recent, running = await make(store, 5), await make(store, 2), await make(store, 3)
    await ended(store, old)
    await ended(store, recent)
    long_ago = (
        update(batches).where(batches.c.id.in_([old.id, running.id])).values(ended_at=1.0, created_at=1.0)
    )
    await store.database.write(lambda connection: connection.execute(long_ago).rowcount)
    async with store.creating(tenant="a", headers={}) as draft:
        await draft.add(new_items(2))
        assert await store.sweep(keep_days=1) == 1
        await draft.add(new_items(2, 2))
        gone = update(batches).where(batches.c.state == "draft").values(lease_until=1.0)
        await store.database.write(lambda connection: connection.execute(gone).rowcount)
        assert await store.sweep(keep_days=1) == 1
        with pytest.raises(StoreFailed, match="given up"):
            await draft.add(new_items(2, 4))
    assert {batch.id for batch in (await store.page(None))[0]} == {recent.id, running.id}
    assert (await rows(store))["batch_items"] == 5


async def test_drafts_of_a_dead_maker_are_swept(database_url, store: SqlBatchStore) -> None:
    store._maker = "dead"
    making = store.creating(tenant="a", headers={})
    draft = await making.__aenter__()
    await draft.add(new_items(3))
    assert await store.sweep(keep_days=1) == 0
    assert await store.forget(lambda owner: owner == "dead") == 1
    assert await store.sweep(keep_days=1) == 1
    assert await rows(store) == NOTHING
    await making.__aexit__(None, None, None)
