"""Batches whose chunks go to a work pool: what the server and the workers do, whatever Prefect does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from uuid import uuid4

import pytest

from coordinators import batch_execution
from coordinators.batch_execution import Execution
from coordinators.batch_worker import PoolWorker
from express import Run
from headgate.batch_kit import BatchParts
from headgate.instance import Instance
from tasks.batch import ItemResult, LeaseLost
from tests.coordinators.batch_bench import EAGER, ask, bench_at, counted, upstream_calls


@pytest.fixture
async def bench(tmp_path, openrouter):
    async with bench_at(tmp_path, openrouter.base_url, chunk=4) as bench:
        yield bench


async def test_chunks_that_were_sent_away_are_looked_at_together(bench, monkeypatch):
    batch = await bench.make(*(ask(f"{n}") for n in range(80)))
    looks = counted(monkeypatch, bench.store, "chunks")
    async with pool_worker(bench, Away()) as worker:
        lease = await bench.store.lease_batch(batch.id, "server", 60)
        execution = Execution(worker._kit, batch, lease, None, "pool")
        watching = [asyncio.create_task(execution.watch_chunk(n, f"run {n}")) for n in range(20)]
        await asyncio.sleep(0.3)
        assert 1 <= len(looks) < 5
        mine = await bench.store.lease_chunk(batch.id, 0, "a worker", 60)
        done = [ItemResult(n, f"item-{n}", "succeeded", b"{}", attempts=1) for n in range(4)]
        await bench.store.record(mine, done)
        await bench.store.finish_chunk(mine)
        assert await watching[0] == "done"
        assert not any(task.done() for task in watching[1:])
        execution.watch.end("canceled")
        assert await asyncio.gather(*watching[1:]) == ["stopped"] * 19
    assert len(looks) < 10


class Away:
    """A Prefect that answers no call; flows run without it, each when its chunk may start."""

    def __init__(self, *held):
        self.may_start = {chunk: asyncio.Event() for chunk in held}

    async def call(self, ask, *, within=None):
        await asyncio.Event().wait()

    async def run_flow(self, flow, run, parameters):
        if (held := self.may_start.get(parameters["chunk"])) is not None:
            await held.wait()
        await Run(flow.name, name="chunk").call(flow, **parameters)


@asynccontextmanager
async def pool_worker(bench, prefect):
    instance = Instance("worker", str(bench.folder), "OPENROUTER", "test", runs="off")
    parts = BatchParts(bench.settings(), instance, bench.store, EAGER)
    try:
        yield PoolWorker(replace(parts.kit, owner="worker"), prefect, "pool", limit=2)
    finally:
        await parts.kit.heart.close()
        await parts.close()


def run_of(batch, chunk):
    return SimpleNamespace(id=uuid4(), parameters={"batch_id": batch.id, "chunk": chunk})


async def test_a_worker_sees_the_batch_of_a_chunk_that_only_starts(bench, openrouter):
    openrouter.script({"text": "Fine.", "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(8)))
    prefect = Away(1)
    async with pool_worker(bench, prefect) as worker:
        starting = asyncio.create_task(worker._execute(run_of(batch, 1)))
        await worker._execute(run_of(batch, 0))
        await bench.store.cancel(batch.id)
        await worker._see()
        prefect.may_start[1].set()
        await starting
        assert sorted(upstream_calls(openrouter)) == ["0", "1", "2", "3"]
        assert worker._desks == {}


async def test_a_worker_sees_the_store_while_prefect_does_not_answer(bench, openrouter):
    openrouter.script({"fault": "stall_headers", "times": 0})
    batch = await bench.make(ask("slow"))
    async with pool_worker(bench, Away()) as worker:
        working = asyncio.create_task(worker.work(asyncio.Event()))
        executing = asyncio.create_task(worker._execute(run_of(batch, 0)))
        await asyncio.to_thread(openrouter.wait_for, 1, "chat")
        await bench.store.cancel(batch.id)
        await asyncio.wait({executing}, timeout=30)  # it sees that, and gives the call its time to end
        assert executing.done()
        assert not any(state.leased for state in await bench.store.chunks(batch.id))
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@pytest.mark.parametrize("how", ["canceled", "expired"])
async def test_calls_under_way_at_a_worker_end_when_the_batch_stops(bench, openrouter, how):
    openrouter.script({"text": "Late.", "first_delay": 2.5, "times": 4}, {"text": "Later.", "times": 0})
    hours = 2 / 3600 if how == "expired" else 24
    batch = await bench.make(*(ask(f"{n}") for n in range(12)), hours=hours)
    async with pool_worker(bench, Away()) as worker:
        working = asyncio.create_task(worker.work(asyncio.Event()))
        executing = asyncio.create_task(worker._execute(run_of(batch, 0)))
        await asyncio.to_thread(openrouter.wait_for, 4, "chat")
        if how == "canceled":
            await bench.store.cancel(batch.id)
        else:
            await asyncio.sleep(2)
        async with bench.engine(owner="server", pool="pool"):
            over, results = await bench.ended(batch)
        await executing
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert [result.outcome for result in results] == ["succeeded"] * 4 + [how] * 8
    assert over.counts.succeeded == len(upstream_calls(openrouter)) == 4


async def test_a_worker_that_keeps_its_chunk_too_long_loses_it(bench):
    batch = await bench.make(ask("a"))
    lease = await bench.store.lease_chunk(batch.id, 0, "stubborn", 600)
    await bench.store.cancel(batch.id)
    async with bench.engine(owner="server", pool="pool", HEADGATE_BATCH_LEASE=30):
        _, results = await bench.ended(batch)
    assert [result.outcome for result in results] == ["canceled"]
    with pytest.raises(LeaseLost):
        await bench.store.record(lease, [ItemResult(0, "item-0", "succeeded", b"{}", attempts=1)])


class Late:
    """A Prefect that answers when `here` is set, and then has the batch's flow run without it."""

    patience = 0.05

    def __init__(self):
        self.here = asyncio.Event()
        self.ran = asyncio.Event()

    async def ready(self):
        await self.here.wait()

    async def run_batch(self, execution):
        self.ran.set()
        await execution._run_directly()


async def test_while_prefect_is_silent_no_more_chunks_are_taken_here_than_without_a_pool(
    bench, openrouter, monkeypatch
):
    monkeypatch.setattr(batch_execution, "_POOL_PATIENCE", 0.1)
    openrouter.script({"fault": "stall_headers", "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(80)))
    settings = {"HEADGATE_BATCH_CONCURRENCY": 2}
    async with bench.engine(pool="pool", prefect=Late(), **settings):
        await asyncio.to_thread(openrouter.wait_for, 2, "chat")
        await asyncio.sleep(0.5)
        taken = sum(state.leased for state in await bench.store.chunks(batch.id))
        await bench.store.cancel(batch.id)
        await bench.ended(batch)
    assert taken == 3  # two, and one more for the four requests in hand


async def test_with_a_pool_prefect_is_waited_for(bench, openrouter):
    openrouter.script({"text": "Fine.", "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(4)))
    prefect = Late()
    async with bench.engine(pool="pool", prefect=prefect):
        await asyncio.sleep(1)  # twenty times its patience
        assert upstream_calls(openrouter) == []
        assert not any(state.leased for state in await bench.store.chunks(batch.id))
        prefect.here.set()
        await prefect.ran.wait()
        ended, _ = await bench.ended(batch)
    assert ended.counts.succeeded == 4


async def test_a_batch_that_is_canceled_waits_for_no_prefect(bench, openrouter):
    batch = await bench.make(ask("a"))
    async with bench.engine(pool="pool", prefect=Late()):
        await asyncio.sleep(0.3)
        await bench.store.cancel(batch.id)
        _, results = await bench.ended(batch)
    assert [result.outcome for result in results] == ["canceled"]
    assert upstream_calls(openrouter) == []


async def test_an_engine_that_ends_waits_for_no_prefect(bench):
    batch = await bench.make(ask("a"))
    async with asyncio.timeout(30):
        async with bench.engine(pool="pool", prefect=Late()):
            while (lease := await bench.store.lease_batch(batch.id, "other", 60)) is not None:
                await bench.store.release(lease)
                await asyncio.sleep(0.05)
    assert await bench.store.lease_batch(batch.id, "next", 60) is not None
