"""Runs of batches that nobody will conclude are closed in a real Prefect; those of others are left alone."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Running

from coordinators.batch_orphans import Orphans, store_tag
from coordinators.batch_runs import BatchRuns
from coordinators.batch_store import SqlBatchStore
from coordinators.batch_worker import register_pool
from coordinators.prefect_thread import PrefectThread
from tests.coordinators.batch_bench import Bench, ask, bench_at

pytestmark = pytest.mark.timeout(300)


class Left:
    """A batch, and the runs that its processes left open when they were killed: its own, and two of chunks.

    One of the chunks was under way at a worker, the other one waited for one.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.batch: Any = None
        self.ids: list[UUID] = []

    async def begin(self) -> Left:
        runs = BatchRuns(PrefectThread())
        self.batch = batch = await self.bench.make(ask("a"))
        tag = store_tag(await self.bench.store.name())
        try:
            run = await runs.thread.call(lambda client: runs._begin(client, batch, tag))
        finally:
            await runs.thread.close()
        pool = f"pool-{time.time_ns()}"
        async with get_client() as client:
            await client.set_flow_run_state(run.id, Running(), force=True)
            await register_pool(client, pool)
            deployed = await client.read_deployment_by_name(f"message_chunk/pool-{pool}")
            chunks = [
                await client.create_flow_run_from_deployment(
                    deployed.id, parameters={"batch_id": batch.id, "chunk": chunk}, tags=["batch", tag]
                )
                for chunk in range(2)
            ]
            await client.set_flow_run_state(chunks[0].id, Running(), force=True)
        self.ids = [run.id, *(chunk.id for chunk in chunks)]
        return self

    async def states(self) -> list[str]:
        async with get_client() as client:
            runs = [await client.read_flow_run(run_id) for run_id in self.ids]
        return [run.state.type.value for run in runs if run.state is not None]


OPEN = ["RUNNING", "RUNNING", "SCHEDULED"]
CLOSED = ["CRASHED", "CRASHED", "CANCELLED"]


def orphans(bench: Bench, after: float) -> Orphans:
    return Orphans(lambda: SqlBatchStore(bench.url), after=after)


@pytest.fixture
async def bench(tmp_path: Any, native: Any) -> Any:
    async with bench_at(tmp_path, "") as bench:
        yield bench


async def test_runs_of_a_batch_that_has_ended_are_closed(bench: Bench) -> None:
    left = await Left(bench).begin()
    goes_on = await Left(bench).begin()
    assert await orphans(bench, after=0).close() == (0, None)
    await bench.end(left.batch)
    told = await orphans(bench, after=100).close()  # who ended it may be about to conclude them
    assert told.closed == 0
    assert told.again is not None
    assert 0 < told.again <= 100
    assert await left.states() == OPEN
    assert await orphans(bench, after=0).close() == (3, None)
    assert await left.states() == CLOSED
    assert await goes_on.states() == OPEN
    assert await orphans(bench, after=0).close() == (0, None)


async def test_runs_of_a_deleted_batch_are_closed_some_time_after_they_were_seen(bench: Bench) -> None:
    left = await Left(bench).begin()
    await bench.end(left.batch)
    await bench.store.delete(left.batch.id)
    looking = orphans(bench, after=0.2)
    told = await looking.close()
    assert told.closed == 0
    assert told.again is not None
    limit = time.monotonic() + 60
    while (await looking.close()).again is not None:
        assert time.monotonic() < limit
    assert await left.states() == CLOSED


async def test_runs_of_another_gateway_on_the_same_server_are_left_alone(bench: Bench, tmp_path: Any) -> None:
    (tmp_path / "other").mkdir()
    async with bench_at(tmp_path / "other", "") as other:
        theirs = await Left(other).begin()
        left = await Left(bench).begin()
        await bench.end(left.batch)
        await other.end(theirs.batch)
        assert await orphans(bench, after=0).close() == (3, None)
        assert await theirs.states() == OPEN
        assert await orphans(other, after=0).close() == (3, None)
        assert await theirs.states() == CLOSED


async def test_without_a_store_nothing_is_closed(bench: Bench) -> None:
    left = await Left(bench).begin()
    await bench.end(left.batch)
    assert await Orphans(lambda: None, after=0).close() == (0, None)
    assert await left.states() == OPEN
