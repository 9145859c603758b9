"""The laws of the store of batches, on SQLite and, in `make postgres`, on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from coordinators.batch_tables import batches, chunks, results
from tasks.batch import Counts, DuplicateCustomId, FailedAttempt, KeyTaken, LeaseLost, NewItem, StoreFailed
from tests.coordinators.batch_samples import (
    EXPIRES,
    NOTHING,
    batch_lease,
    chunk_of,
    ended,
    make,
    new_items,
    result,
    rows,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from coordinators.batch_store import SqlBatchStore
    from tasks.batch import Batch, Lease


# -- made
async def test_a_batch_is_what_was_added_to_its_draft(store: SqlBatchStore) -> None:
    async with store.creating(tenant="a", headers={"anthropic-beta": "x"}, label="file") as draft:
        await draft.add(new_items(3))
        await draft.add([])
        await draft.add(new_items(6, 3))
        made = await draft.commit(digest="d", expires_at=EXPIRES)
    assert made == await store.get(made.id) == await store.get(made.id, "a")
    assert (made.status, made.items, made.chunks, made.counts) == ("in_progress", 9, 3, Counts(processing=9))
    assert (made.headers, made.label, made.expires_at) == ({"anthropic-beta": "x"}, "file", EXPIRES)
    assert made.id.startswith("msgbatch_")
    spans = [(chunk.first, chunk.last, chunk.done, chunk.leased) for chunk in await store.chunks(made.id)]
    assert spans == [(0, 3, False, False), (4, 7, False, False), (8, 8, False, False)]


async def test_nobody_sees_a_draft_and_nothing_is_left_of_it(store: SqlBatchStore) -> None:
    async with store.creating(tenant="a", headers={}) as draft:
        await draft.add(new_items(7))
        assert (await rows(store))["batch_items"] == 7
        assert await store.page("a") == ([], False)
        assert await store.open_batches() == []
    assert await rows(store) == NOTHING


async def test_a_maker_that_is_cancelled_leaves_nothing(store: SqlBatchStore) -> None:
    under_way = asyncio.Event()

    async def create() -> None:
        async with store.creating(tenant="a", headers={}) as draft:
            for first in range(0, 100_000, 100):
                await draft.add(new_items(100, first))
                under_way.set()

    task = asyncio.create_task(create())
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await rows(store) == NOTHING


@pytest.mark.parametrize("apart", [True, False])
async def test_a_custom_id_is_used_once(store: SqlBatchStore, apart) -> None:
    new = [NewItem("one", b"{}"), NewItem("two", b"{}"), NewItem("one", b"{}")]

    async def create() -> None:
        async with store.creating(tenant="a", headers={}) as draft:
            for part in (new[:2], new[2:]) if apart else (new,):
                await draft.add(part)

    with pytest.raises(DuplicateCustomId, match=r"^one$"):
        await create()
    assert await rows(store) == NOTHING


async def test_a_key_makes_one_batch_of_a_tenant(store: SqlBatchStore) -> None:
    assert await store.get_by_key("tenant", "key") is None
    first = await make(store, 2, key="key")
    assert await store.get_by_key("tenant", "key") == first
    assert await store.get_by_key("other", "key") is None
    with pytest.raises(KeyTaken) as taken:
        await make(store, 3, key="key")
    assert (taken.value.batch, taken.value.digest) == (first, "digest of 2")
    other = await make(store, 3, tenant="other", key="key")
    assert {found.id for found in (await store.page(None))[0]} == {first.id, other.id}
    assert (await rows(store))["batch_items"] == 5
    await ended(store, first)
    assert await store.delete(first.id)
    assert await store.get_by_key("tenant", "key") is None
    await make(store, 1, key="key")


async def test_of_many_makers_with_one_key_one_succeeds(store: SqlBatchStore) -> None:
    made = await asyncio.gather(*(make(store, 2, key="key") for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(one, KeyTaken) for one in made) == 5
    assert (await rows(store))["batches"] == 1


async def test_large_and_odd_params_come_back_byte_for_byte(store: SqlBatchStore) -> None:
    params = [b"", b'{"a":"\xc3\xa9\\u0000"}', b"x" * 3_000_000, bytes(range(256)) * 40]
    async with store.creating(tenant="a", headers={}) as draft:
        await draft.add([NewItem(f"i{seq}", body) for seq, body in enumerate(params)])
        made = await draft.commit(digest="d", expires_at=EXPIRES)
    lease = await chunk_of(store, made)
    assert [item.params for item in await store.pending(lease)] == params
    assert [item.seq for item in await store.pending(lease, most_bytes=100)] == [0, 1]
    assert [item.seq for item in await store.pending(lease, after=1, most_bytes=100)] == [2]


# -- looked at
async def test_pages_in_both_directions(store: SqlBatchStore) -> None:
    made = [(await make(store, 1)).id for _ in range(5)]
    foreign = (await make(store, 1, tenant="other")).id
    newest = made[::-1]

    async def page(**which: object) -> tuple[list[str], bool]:
        found, more = await store.page("tenant", **which)  # type: ignore[arg-type]
        return [batch.id for batch in found], more

    assert await page() == (newest, False)
    assert await page(limit=2) == (newest[:2], True)
    assert await page(limit=2, after_id=newest[1]) == (newest[2:4], True)
    assert await page(limit=2, after_id=newest[3]) == (newest[4:], False)
    assert await page(limit=2, before_id=newest[3]) == (newest[1:3], True)
    assert await page(limit=3, before_id=newest[3]) == (newest[:3], False)
    assert await page(before_id=newest[0]) == ([], False)
    assert await page(after_id=newest[0], before_id=newest[3]) == (newest[1:3], False)
    assert await page(after_id=foreign) == ([], False)
    assert (await store.page("other"))[0][0].id == foreign
    assert await store.get(foreign, "tenant") is None
    assert len((await store.page(None))[0]) == 6


async def test_results_come_in_order_page_after_page(store: SqlBatchStore) -> None:
    made = await make(store, 10)
    for chunk in (2, 0, 1):
        lease = await chunk_of(store, made, chunk)
        done = [result(seq) for seq in range(lease.first, lease.last + 1)]
        await store.record(lease, done[::-1])
    found, after = [], -1
    while page := await store.results(made.id, after=after, limit=3):
        assert len(page) <= 3
        found += page
        after = page[-1].seq
    assert found == [result(seq) for seq in range(10)]
    assert await store.results("msgbatch_none") == []


async def test_a_page_of_results_is_bounded_in_bytes(store: SqlBatchStore) -> None:
    made = await make(store, 4)
    lease = await chunk_of(store, made)
    sizes = [100, 3 << 20, 3 << 20, 9 << 20]
    await store.record(lease, [result(seq, body=b"x" * size) for seq, size in enumerate(sizes)])
    pages, after = [], -1
    while page := await store.results(made.id, after=after):
        pages.append([one.seq for one in page])
        after = page[-1].seq
    assert pages == [[0, 1], [2], [3]]


async def test_results_of_a_batch_deleted_meanwhile_do_not_just_end(store: SqlBatchStore) -> None:
    made = await make(store, 4)
    await ended(store, made)
    (first,) = await store.results(made.id, limit=1)
    assert await store.delete(made.id)
    with pytest.raises(StoreFailed, match="deleted"):
        await store.results(made.id, after=first.seq)


# -- leased
async def test_of_many_one_owns(store: SqlBatchStore) -> None:
    made = await make(store, 8)
    leases = await asyncio.gather(*(store.lease_batch(made.id, f"o{n}", 60) for n in range(8)))
    assert sum(lease is not None for lease in leases) == 1
    leases = await asyncio.gather(*(store.lease_chunk(made.id, n % 2, f"o{n}", 60) for n in range(16)))
    assert sorted(lease.chunk for lease in leases if lease is not None) == [0, 1]
    assert [chunk.leased for chunk in await store.chunks(made.id)] == [True, True]


async def test_a_lease_that_is_over_is_taken_over_and_its_owner_records_nothing(store: SqlBatchStore) -> None:
    made = await make(store, 4)
    old = await store.lease_chunk(made.id, 0, "old", 0)
    assert old is not None
    assert not (await store.chunks(made.id))[0].leased
    await store.record(old, [result(0)])  # nobody has taken it over yet
    new = await chunk_of(store, made)
    assert (new.fence, new.first, new.last) == (old.fence + 1, 0, 3)
    for losing in (
        store.record(old, [result(1)], [FailedAttempt(2, 1, 0.0, 0.0, "api_error", "no")]),
        store.renew(old, 60),
        store.finish_chunk(old),
    ):
        with pytest.raises(LeaseLost):
            await losing
    await store.release(old)
    await store.renew(new, 60)
    assert [item.seq for item in await store.pending(new)] == [1, 2, 3]
    assert (await rows(store))["batch_attempts"] == 0


async def test_leases_are_renewed_and_released(store: SqlBatchStore) -> None:
    made = await make(store, 4)
    lease = await store.lease_batch(made.id, "us", 0)
    assert lease is not None
    await store.renew(lease, 60)
    assert await store.lease_batch(made.id, "them", 60) is None
    await store.release(lease)
    assert await store.lease_batch(made.id, "them", 60) is not None
    with pytest.raises(LeaseLost):
        await store.renew(lease, 60)


async def test_the_leases_of_the_dead_are_free(store: SqlBatchStore) -> None:
    made = await make(store, 8)
    theirs = await chunk_of(store, made, 0, "alive")
    lost = await chunk_of(store, made, 1, "dead")
    await batch_lease(store, made, "dead")
    assert await store.forget(lambda owner: owner == "dead") == 2
    await store.renew(theirs, 60)
    with pytest.raises(LeaseLost):
        await store.renew(lost, 60)
    await batch_lease(store, made)
    await chunk_of(store, made, 1)


# -- recorded
async def test_what_has_a_result_keeps_it(store: SqlBatchStore) -> None:
    made = await make(store, 6)
    lease = await chunk_of(store, made)
    await store.record(lease, [result(0), result(0, "errored"), result(1, "errored")])
    await store.record(lease, [result(1), result(2), result(2)])
    found = await store.results(made.id)
    assert [(one.seq, one.outcome) for one in found] == [(0, "succeeded"), (1, "errored"), (2, "succeeded")]
    now = await store.get(made.id)
    assert now is not None
    assert now.counts == Counts(processing=3, succeeded=2, errored=1)
    assert (now.input_tokens, now.output_tokens, now.cost) == (9, 15, 0.75)
    assert [one.seq for one in await store.failures(made.id)] == [1]
    with pytest.raises(ValueError, match="chunk 0"):
        await store.record(lease, [result(4)])


async def test_attempts_are_counted_and_odd_messages_kept(store: SqlBatchStore) -> None:
    made = await make(store, 4)
    lease = await chunk_of(store, made)
    one = FailedAttempt(1, 1, 5.0, 6.0, "api_error", "NUL \0 and \ud800")
    two = FailedAttempt(1, 2, 5.0, 6.0, "api_error", "again")
    await store.record(lease, [], [one])
    await store.record(lease, [result(0, "errored", error_type="a\0b")], [one, two, two])
    assert [(item.seq, item.attempts) for item in await store.pending(lease)] == [(1, 2), (2, 0), (3, 0)]
    assert (await rows(store))["batch_attempts"] == 2


async def test_a_recorder_that_is_cancelled_records_all_or_nothing(store: SqlBatchStore) -> None:
    made = await make(store, 4)
    lease = await chunk_of(store, made)
    for seq in range(4):
        task = asyncio.create_task(store.record(lease, [result(seq)]))
        for _ in range(seq * 3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await recounted(store, made)
    await store.record(lease, [result(seq) for seq in range(4)])
    assert await store.finish_chunk(lease)
    await recounted(store, made)


async def test_chunks_and_batches_end_when_all_have_results(store: SqlBatchStore) -> None:
    made = await make(store, 6)
    whole = await batch_lease(store, made)
    for chunk, seqs in enumerate([range(4), range(4, 6)]):
        lease = await chunk_of(store, made, chunk)
        await store.record(lease, [result(seq) for seq in seqs[:-1]])
        assert await store.finish_chunk(lease) is False
        assert await store.end(whole) is None
        await store.record(lease, [result(seqs[-1])])
        assert await store.finish_chunk(lease)
        assert await store.lease_chunk(made.id, chunk, "us", 60) is None
    done = await store.end(whole)
    assert done is not None
    assert (done.status, done.counts) == ("ended", Counts(succeeded=6))
    assert done.ended_at is not None
    assert await store.open_batches() == []
    assert await store.lease_batch(made.id, "us", 60) is None
    with pytest.raises(LeaseLost):
        await store.end(whole)


@pytest.mark.parametrize("outcome", ["canceled", "expired"])
async def test_closing_out_gives_the_rest_its_outcome(store: SqlBatchStore, outcome) -> None:
    made = await make(store, 10)
    whole = await batch_lease(store, made)
    first, second = await chunk_of(store, made, 0), await chunk_of(store, made, 1)
    await store.record(first, [result(seq) for seq in range(4)])
    assert await store.finish_chunk(first)
    await store.record(second, [result(5)])
    await store.close_out(whole, outcome)
    with pytest.raises(LeaseLost):
        await store.record(second, [result(4)])
    await store.close_out(whole, outcome)  # as after a crash in its midst
    await recounted(store, made)
    found = {one.seq: one for one in await store.results(made.id)}
    assert [seq for seq in found if found[seq].outcome == outcome] == [4, 6, 7, 8, 9]
    assert (found[9].custom_id, found[9].body) == ("item-9", b"")
    done = await store.end(whole)
    assert done is not None
    assert done.counts == Counts(succeeded=5, **{outcome: 5})


async def test_cancel_and_pause(store: SqlBatchStore) -> None:
    made = await make(store, 1)
    held = await store.pause(made.id, paused=True)
    assert held is not None
    assert held.paused
    canceling = await store.cancel(made.id)
    assert canceling is not None
    assert (canceling.status, canceling.paused) == ("canceling", False)
    assert canceling.cancel_initiated_at is not None
    assert await store.cancel(made.id) == canceling == await store.pause(made.id, paused=True)
    assert await store.delete(made.id) is False
    done = await ended(store, made)
    assert await store.cancel(made.id) == done
    assert await store.cancel("msgbatch_none") is None


async def test_open_batches_are_oldest_first_and_have_a_flow_run(store: SqlBatchStore) -> None:
    made = [(await make(store, 1)).id for _ in range(3)]
    await store.set_flow_run(made[1], "run")
    found = await store.open_batches()
    assert [(batch.id, batch.flow_run) for batch in found] == [
        (made[0], None),
        (made[1], "run"),
        (made[2], None),
    ]


async def recounted(store: SqlBatchStore, made: Batch) -> None:
    """Compare a batch's counts and totals, and its chunks', with what is in the table of results."""

    def count(connection: Connection) -> tuple[dict[str, int], tuple[int, ...]]:
        wanted = select(results.c.outcome, func.count()).group_by(results.c.outcome)
        sums = select(*(func.coalesce(func.sum(results.c[name]), 0) for name in ("input_tokens", "cost")))
        return {row[0]: row[1] for row in connection.execute(wanted)}, tuple(connection.execute(sums).one())

    found, (tokens, cost) = await store.database.read(count)
    now = await store.get(made.id)
    assert now is not None
    assert now.counts == Counts(processing=made.items - sum(found.values()), **found)
    assert (now.input_tokens, now.cost) == (tokens, cost)


@pytest.mark.parametrize("seed", range(6))
async def test_counts_are_right_whatever_happens(store: SqlBatchStore, seed) -> None:
    chance = random.Random(seed)
    made = await make(store, 30)
    first: dict[int, str] = {}
    leases: list[Lease] = []
    for _ in range(120):
        step = chance.choice(["lease", "record", "record", "finish", "release", "stale"])
        if step == "lease":
            lease = await store.lease_chunk(
                made.id, chance.randrange(made.chunks), f"o{chance.random()}", chance.choice([0, 60])
            )
            leases += [lease] if lease is not None else []
        elif leases:
            lease = chance.choice(leases)
            seqs = [chance.randint(lease.first, lease.last) for _ in range(chance.randint(1, 6))]
            done = [result(seq, chance.choice(["succeeded", "errored"])) for seq in seqs]
            try:
                if step == "release":
                    await store.release(lease)
                elif step == "finish":
                    complete = all(seq in first for seq in range(lease.first, lease.last + 1))
                    assert await store.finish_chunk(lease) is complete
                else:
                    await store.record(lease, done)
                    for one in done:
                        first.setdefault(one.seq, one.outcome)
            except LeaseLost:
                leases.remove(lease)
    assert {one.seq: one.outcome for one in await store.results(made.id)} == first
    await recounted(store, made)
    done_batch = await ended(store, made)
    assert done_batch.counts.processing == 0
    await recounted(store, made)


# -- rates
async def test_a_rate_is_shared_and_holds_one_second_s_worth(store: SqlBatchStore) -> None:
    waits = await asyncio.gather(*(store.reserve("r", 1, 600) for _ in range(14)))
    assert 10 <= waits.count(0.0) <= 13  # a tenth of a second gives one more
    assert all(0 < wait <= 0.2 for wait in waits if wait)
    assert await store.reserve("other", 1, 600) == 0.0
    assert await store.reserve("none", 10, 0) == 0.0


async def test_more_than_a_rate_holds_is_owed(store: SqlBatchStore) -> None:
    assert await store.reserve("tokens", 600, 600) == 0.0
    wait = await store.reserve("tokens", 1, 600)
    assert 50 < wait <= 60
    wait = await store.reserve("tokens", 5000, 600)
    assert 50 < wait <= 61


async def test_chunks_do_not_outlive_their_batch(store: SqlBatchStore) -> None:
    await make(store, 6)
    await store.database.write(lambda connection: connection.execute(batches.delete()).rowcount)
    assert await rows(store) == NOTHING
    assert chunks.c.batch.foreign_keys
