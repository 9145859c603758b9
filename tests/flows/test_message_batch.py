"""A batch under Prefect's own engine: its run, its chunks as subflows, artifacts, pause and end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest

from coordinators.batch_heart import Heart
from coordinators.batch_runs import BatchRuns
from coordinators.batch_worker import PoolWorker
from coordinators.prefect_thread import PrefectThread
from headgate.batch_kit import BatchParts
from headgate.instance import Instance
from tests.coordinators.batch_bench import EAGER, ask, bench_at
from tests.flows.marks import SOCKETS_LEFT

# Prefect's engine leaves its clients' sockets to the collector
pytestmark = [
    SOCKETS_LEFT,
    pytest.mark.timeout(600),
]


@pytest.fixture
async def prefect(native: Any) -> Any:
    runs = BatchRuns(PrefectThread(), patience=60.0)
    yield runs
    await runs.thread.close()


class Api:
    """What the server tells of runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def filter(self, what: str, **by: Any) -> list[dict[str, Any]]:
        return httpx.post(f"{self.url}/{what}/filter", json=by).json()

    def run(self, name: str) -> dict[str, Any]:
        (run,) = self.filter("flow_runs", flow_runs={"name": {"any_": [name]}})
        return run

    def children(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        return self.filter("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [run["id"]]}})

    def set_state(self, run: dict[str, Any], **state: Any) -> None:
        told = httpx.post(f"{self.url}/flow_runs/{run['id']}/set_state", json={"state": state})
        assert told.json()["status"] == "ACCEPT", told.text

    async def resume(self, run: dict[str, Any]) -> None:
        """Resume a run; a server whose database is busy answers 503, and is asked again."""
        limit = time.monotonic() + 60
        while (told := httpx.post(f"{self.url}/flow_runs/{run['id']}/resume", json={})).status_code == 503:
            assert time.monotonic() < limit
            await asyncio.sleep(0.5)
        assert told.is_success, told.text

    async def until(self, name: str, *states: str, seconds: float = 180) -> dict[str, Any]:
        limit = time.monotonic() + seconds
        while (run := self.run(name))["state_name"] not in states:
            assert time.monotonic() < limit, run
            await asyncio.sleep(0.2)
        return run


@pytest.fixture
def api(prefect_server: Any) -> Api:
    return Api(prefect_server.url)


async def test_a_batch_is_a_run_and_its_chunks_are_subflows(
    tmp_path: Any, openrouter: Any, prefect: BatchRuns, api: Api
) -> None:
    openrouter.script(
        {"status": 400, "message": "Secret words are refused", "times": 1},
        {"text": "Fine.", "first_delay": 0.2, "times": 0},
    )
    async with bench_at(tmp_path, openrouter.base_url, chunk=8) as bench:
        batch = await bench.make(*(ask(f"Secret prompt {n}") for n in range(20)))
        async with bench.engine(prefect=prefect, HEADGATE_BATCH_CONCURRENCY=2):
            ended, _ = await bench.ended(batch)
            assert (ended.counts.succeeded, ended.counts.errored) == (19, 1)
            run = await api.until(f"batch-{batch.id}", "Completed")
        tag = f"store:{await bench.store.name()}"
    assert ended.flow_run == run["id"]
    assert run["deployment_id"] is not None
    assert {"batch", "headgate", tag} <= set(run["tags"])
    assert run["parameters"] == {"batch_id": batch.id}
    chunks = api.children(run)
    assert {chunk["name"] for chunk in chunks} == {f"{batch.id}-chunk-{n}" for n in range(3)}
    assert {chunk["state_name"] for chunk in chunks} == {"Completed"}
    assert {chunk["parameters"]["chunk"] for chunk in chunks} == {0, 1, 2}
    artifacts = api.filter("artifacts", flow_runs={"id": {"any_": [run["id"]]}})
    shown = {artifact["type"]: artifact for artifact in artifacts}
    assert set(shown) == {"progress", "table"}
    assert len(artifacts) == 2  # changed in place
    assert shown["progress"]["data"] == 100
    assert "20 of 20 requests done; 1 failed" in shown["progress"]["description"]
    assert "invalid_request_error" in str(shown["table"]["data"])
    assert "Secret" not in str((run, chunks, artifacts))  # nor the upstream's message, which may quote it


async def test_the_pause_and_the_end_are_those_of_the_ui_too(
    tmp_path: Any, openrouter: Any, prefect: BatchRuns, api: Api
) -> None:
    openrouter.script({"text": "Fine.", "first_delay": 0.3, "times": 0})
    async with bench_at(tmp_path, openrouter.base_url, chunk=200) as bench:
        batch = await bench.make(*(ask(f"{n}") for n in range(400)))
        async with bench.engine(prefect=prefect, HEADGATE_BATCH_CONCURRENCY=2):
            await bench.until(batch, lambda one: one.counts.succeeded > 0)
            name = f"batch-{batch.id}"
            await bench.store.pause(batch.id, paused=True)
            await api.until(name, "Paused")
            await bench.store.pause(batch.id, paused=False)
            run = await api.until(name, "Running")
            api.set_state(run, type="PAUSED", name="Suspended", state_details={"pause_reschedule": True})
            await bench.until(batch, lambda one: one.paused)
            paused = await bench.store.get(batch.id)
            await api.resume(run)
            await bench.until(batch, lambda one: not one.paused)
            await bench.until(batch, lambda one: one.counts.succeeded > paused.counts.succeeded)
            run = await api.until(name, "Running")
            api.set_state(run, type="CANCELLING")
            ended, _ = await bench.ended(batch)
            assert ended.counts.canceled > 0
            run = await api.until(name, "Cancelled")
        assert "canceled" in run["state"]["message"]


@contextlib.asynccontextmanager
async def pool_worker(bench: Any, pool: str, owner: str, heart: Any = None) -> Any:
    """A worker as `headgate worker` has it, in this process."""
    instance = Instance("worker", str(bench.folder), "OPENROUTER", "test", runs="off")
    parts = BatchParts(bench.settings(HEADGATE_BATCH_CONCURRENCY=8), instance, bench.store, EAGER)
    kit = replace(parts.kit, owner=owner, heart=heart or Heart(bench.store, 2.0))
    ended, thread = asyncio.Event(), PrefectThread()
    working = asyncio.create_task(PoolWorker(kit, thread, pool, limit=2).work(ended))
    try:
        yield working, kit.heart
    finally:
        ended.set()
        await asyncio.gather(working, return_exceptions=True)
        await parts.close()
        await thread.close()


async def test_chunks_go_to_the_workers_of_a_pool_and_a_lost_one_is_sent_again(
    tmp_path: Any, openrouter: Any, prefect: BatchRuns, api: Api
) -> None:
    stuck = {"when": {"user": "stuck"}, "fault": "stall_headers", "times": 2}
    openrouter.script(stuck, {"text": "Fine.", "times": 0})
    pool = f"pool-{time.time_ns()}"
    async with bench_at(tmp_path, openrouter.base_url, chunk=4) as bench:
        batch = await bench.make(*(ask("stuck" if n in {0, 4} else f"{n}") for n in range(20)))
        async with (
            bench.engine(owner="server", prefect=prefect, pool=pool, heart=Heart(bench.store, 2.0)),
            pool_worker(bench, pool, "doomed") as (doomed, heart),
        ):
            while sum("stuck" in str(seen["body"]) for seen in openrouter.requests("chat")) < 2:
                await asyncio.sleep(0.1)
            doomed.cancel()  # its chunks' leases are left to run out, as when it is killed
            await heart.close()
            async with pool_worker(bench, pool, "heir"):
                ended, results = await bench.ended(batch)
                run = await api.until(f"batch-{batch.id}", "Completed")
        tag = f"store:{await bench.store.name()}"
    assert ended.counts.succeeded == 20 == len(results)
    chunks = api.children(run)
    assert all({"batch", "headgate", tag} <= set(chunk["tags"]) for chunk in chunks)
    assert {chunk["work_pool_name"] for chunk in chunks} == {pool}
    by_chunk = {
        n: [chunk["state_name"] for chunk in chunks if chunk["parameters"]["chunk"] == n] for n in range(5)
    }
    assert all("Completed" in states for states in by_chunk.values()), by_chunk
    assert len(by_chunk[0]) > 1, by_chunk  # the one that was stuck
    assert len(by_chunk[1]) > 1, by_chunk
    assert len(openrouter.requests("chat")) >= 20 + 2


async def test_what_workers_have_under_way_when_a_batch_is_canceled_is_recorded(
    tmp_path: Any, openrouter: Any, prefect: BatchRuns, api: Api
) -> None:
    openrouter.script({"text": "Late.", "first_delay": 2.5, "times": 0})
    pool = f"pool-{time.time_ns()}"
    async with bench_at(tmp_path, openrouter.base_url, chunk=4) as bench:
        batch = await bench.make(*(ask(f"{n}") for n in range(24)))
        async with (
            bench.engine(owner="server", prefect=prefect, pool=pool),
            pool_worker(bench, pool, "worker"),
        ):
            await asyncio.to_thread(openrouter.wait_for, 4, "chat", seconds=120)
            await bench.store.cancel(batch.id)
            ended, _ = await bench.ended(batch)
            await api.until(f"batch-{batch.id}", "Cancelled")
    assert ended.counts.succeeded == len(openrouter.requests("chat"))
    assert ended.counts.succeeded + ended.counts.canceled == 24
