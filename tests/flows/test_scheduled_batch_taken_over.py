"""Runs of scheduled batches that a process left, or that broke off: what they did before is not lost."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coordinators import scheduled_batches
from coordinators.owners import this_owner
from coordinators.prefect_thread import PrefectThread
from coordinators.scheduled_batches import ScheduledBatches
from tasks.scheduled_batch import Desk, submit
from tests.flows.marks import SOCKETS_LEFT
from tests.flows.scheduled import (
    a_file,
    answer,
    change,
    make,
    run_now,
    runner,
    state_of,
    until_settled,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest
    from prefect.client.schemas.objects import FlowRun

    from coordinators.batch_store import SqlBatchStore
    from express import Pipeline

pytestmark = SOCKETS_LEFT


async def a_left_run(api: str, tmp_path: Path, state: str) -> FlowRun:
    """Make a run that a process began which has ended since."""
    _, deployment = await make(wanted(tmp_path, str(tmp_path / "a.jsonl")))
    run: FlowRun = await run_now(deployment)
    machine = f"{this_owner().partition('/')[0]}/{os.getpid()}:1"  # this process's number, of another one
    change("PATCH", f"{api}/flow_runs/{run.id}", {"infrastructure_pid": machine})
    set_state(api, run, state)
    return run


def set_state(api: str, run: FlowRun, state: str) -> None:
    change("POST", f"{api}/flow_runs/{run.id}/set_state", {"state": {"type": state}, "force": True})


async def a_batch_of(run: FlowRun, store: SqlBatchStore, file: str) -> str:
    desk = Desk(store, "anyone", f"schedule-{run.id}", datetime.now(UTC), 1, asyncio.get_running_loop())
    return await submit.fn(file, None, desk)


def outcomes(folder: Path) -> list[str]:
    lines = (folder / "results.jsonl").read_text().splitlines()
    return [json.loads(line)["result"]["type"] for line in lines]


async def test_a_run_whose_process_ended_goes_on_with_its_batch_without_the_file(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    run = await a_left_run(prefect_server.url, tmp_path, "RUNNING")
    made = await a_batch_of(run, store, a_file(tmp_path / "a.jsonl", "a"))
    (tmp_path / "a.jsonl").unlink()
    async with runner(store) as batches:
        assert await batches.run_due() == 1
        await until_settled(batches, store)
    assert (await state_of(run)).is_completed()
    assert [batch.id for batch in (await store.page(None))[0]] == [made]
    (folder,) = (tmp_path / "out").iterdir()
    assert outcomes(folder) == ["succeeded"]


async def test_canceling_a_run_whose_process_ended_cancels_the_batch_and_writes_what_there_is(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    run = await a_left_run(prefect_server.url, tmp_path, "CANCELLING")
    made = await a_batch_of(run, store, a_file(tmp_path / "a.jsonl", "a", "b"))
    async with runner(store) as batches:
        assert await batches.run_due() == 1
        batch = await store.get(made)
        assert batch is not None
        assert batch.status == "canceling"
        await until_settled(batches, store)
    assert (await state_of(run)).is_cancelled()
    (folder,) = (tmp_path / "out").iterdir()
    assert outcomes(folder) == ["canceled", "canceled"]


async def test_canceling_a_run_whose_process_ended_before_there_was_a_batch_ends_it(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    run = await a_left_run(prefect_server.url, tmp_path, "CANCELLING")
    async with runner(store) as batches:
        assert await batches.run_due() == 0
    assert (await state_of(run)).is_cancelled()


class Breaking(PrefectThread):
    """Breaks off as Prefect's engine does when its server goes: the run is begun, and stays so."""

    def __init__(self, api: str, times: int) -> None:
        super().__init__()
        self.api = api
        self.left = times

    async def run_flow(self, flow: Pipeline[..., Any], run: FlowRun, parameters: Mapping[str, Any]) -> Any:
        if not self.left:
            return await super().run_flow(flow, run, parameters)
        self.left -= 1
        set_state(self.api, run, "RUNNING")
        raise ConnectionError("Prefect's server is gone")


async def test_a_run_that_broke_off_in_this_process_is_begun_again_after_a_pause(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _, deployment = await make(wanted(tmp_path, a_file(tmp_path / "a.jsonl", "a")))
    run = await run_now(deployment)

    async def opened() -> SqlBatchStore:
        return store

    thread = Breaking(prefect_server.url, 2)
    batches = ScheduledBatches(thread, opened, tenant="anyone", hours=1, look=0.05)
    try:
        monkeypatch.setattr(scheduled_batches, "_PAUSE", 0.0)
        assert await batches.run_due() == 1
        await batches.settled()
        monkeypatch.setattr(scheduled_batches, "_PAUSE", 3600.0)
        assert await batches.run_due() == 1  # it was not held back
        await batches.settled()
        assert await batches.run_due() == 1  # twice nothing is nothing
        await until_settled(batches, store)
    finally:
        await thread.close()
    assert (await state_of(run)).is_completed()
    assert thread.left == 0


async def test_a_run_that_breaks_off_waits(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    _, deployment = await make(wanted(tmp_path, a_file(tmp_path / "a.jsonl", "a")))
    run = await run_now(deployment)

    async def opened() -> SqlBatchStore:
        return store

    thread = Breaking(prefect_server.url, 1)
    batches = ScheduledBatches(thread, opened, tenant="anyone", hours=1, look=0.05)
    try:
        assert await batches.run_due() == 1
        await batches.settled()
        assert await batches.run_due() == 0
        assert (await state_of(run)).is_running()
        # canceled meanwhile, it ends without a pause: there is nothing to write
        set_state(prefect_server.url, run, "CANCELLING")
        assert await batches.run_due() == 0
    finally:
        await thread.close()
    assert (await state_of(run)).is_cancelled()


async def test_what_ended_after_it_was_seen_is_not_begun_again(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    run = await a_left_run(prefect_server.url, tmp_path, "RUNNING")
    await a_batch_of(run, store, a_file(tmp_path / "a.jsonl", "a"))
    await answer(store)
    async with runner(store) as batches:
        looked = batches._see

        async def late(seen: FlowRun) -> None:
            set_state(prefect_server.url, run, "COMPLETED")
            await looked(seen)

        batches._see = late  # type: ignore[method-assign]
        assert await batches.run_due() == 0
    assert (await state_of(run)).is_completed()


def test_pauses_grow_to_an_hour() -> None:
    from uuid import uuid4

    pauses, run = scheduled_batches.Pauses(), uuid4()
    assert pauses.over(run)
    lengths = []
    for _ in range(10):
        pauses.lengthen(run)
        lengths.append(pauses._pauses[run][1])
    assert lengths == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert not pauses.over(run)
    pauses.forget(run)
    assert pauses.over(run)
