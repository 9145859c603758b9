"""Scheduled batches: deployments on a real Prefect server, runs of a real flow, batches in a real store."""

from __future__ import annotations

import asyncio
import csv
import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client

from coordinators import batch_schedules
from coordinators.batch_schedules import ScheduleRefused
from tasks.scheduled_batch import Desk, ScheduleFailed, read_file, submit, summary, wait_for, write_results
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
from wire import batch_file
from wire.batch_file import requests_of

if TYPE_CHECKING:
    from coordinators.batch_store import SqlBatchStore

pytestmark = SOCKETS_LEFT


async def test_a_due_run_makes_a_batch_and_writes_what_became_of_it(
    scheduling: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    file = a_file(tmp_path / "nightly.jsonl", "a", "bad-1", "b", "bad-2", "c")
    new, deployment = await make(wanted(tmp_path, file))
    assert new
    run = await run_now(deployment)
    async with runner(store) as batches:
        assert await batches.run_due() == 1
        assert await batches.run_due() == 0
        await until_settled(batches, store)
    assert (await state_of(run)).is_completed()
    (folder,) = (tmp_path / "out").iterdir()
    datetime.strptime(folder.name, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    assert {path.name for path in folder.iterdir()} == {
        "results.jsonl", "summary.md", "summary.csv", "failures.jsonl",
    }  # fmt: skip
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    outcomes = {one["custom_id"]: one["result"]["type"] for one in lines}
    assert outcomes == dict.fromkeys("abc", "succeeded") | {"bad-1": "errored", "bad-2": "errored"}
    with (folder / "failures.jsonl").open("rb") as again, (tmp_path / "nightly.jsonl").open("rb") as first:
        original = {one.custom_id: one.params for one in requests_of(first)}
        assert {one.custom_id: one.params for one in requests_of(again)} == {
            name: original[name] for name in ("bad-1", "bad-2")
        }
    with (folder / "summary.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["custom_id"] for row in rows] == ["a", "bad-1", "b", "bad-2", "c"]
    assert (rows[1]["error_type"], rows[1]["message"], rows[0]["input_tokens"]) == (
        "api_error",
        "'=no|luck",
        "3",
    )
    told = (folder / "summary.md").read_text()
    for words in (
        "| succeeded | 3 |",
        "| errored | 2 |",
        "| api_error | 2 | =no\\|luck |",
        "$1.5000",
        "nightly.jsonl",
    ):
        assert words in told
    shown = await scheduling.artifact(str(run.id))
    assert shown["type"] == "markdown"
    assert "| succeeded | 3 |" in shown["data"]
    assert "| api_error | 2 |\n" in shown["data"]
    assert "luck" not in shown["data"]
    tasks = await scheduling.task_runs(str(run.id), 5)
    assert {name.rsplit("-", 1)[0] for name in tasks} == {
        "find_batch", "read_file", "submit", "wait_for", "write_results",
    }  # fmt: skip


async def test_a_file_that_is_not_there_fails_the_run_and_says_so(
    scheduling: Any, store: SqlBatchStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, deployment = await make(wanted(tmp_path, str(tmp_path / "later.jsonl")))
    missing = await run_now(deployment)
    a_file(tmp_path / "bad.jsonl", "a", "a")
    wrong = await run_now(deployment, file=str(tmp_path / "bad.jsonl"))
    async with runner(store) as batches:
        assert await batches.run_due() == 2
        await until_settled(batches, store)
    state = await state_of(missing)
    assert state.is_failed()
    assert f"there is no file {tmp_path / 'later.jsonl'} now" in state.message
    state = await state_of(wrong)
    assert state.is_failed()
    assert f"{tmp_path / 'bad.jsonl'}: 1 fault: line 2" in state.message
    assert "custom_id" not in state.message  # a fault's words quote the file
    assert "line 2: custom_id 'a' was line 1's already" in capsys.readouterr().out
    assert await store.page(None) == ([], False)


async def test_what_is_edited_in_the_ui_counts(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    one = wanted(tmp_path, a_file(tmp_path / "a.jsonl", "a"))
    _, deployment = await make(one)
    other = a_file(tmp_path / "b.jsonl", "x", "bad")
    edited = {"file": other, "output": str(tmp_path / "elsewhere"), "model": "small"}
    api = f"{prefect_server.url}/deployments/{deployment.id}"
    schedule = {"schedule": {"cron": "*/5 * * * *", "timezone": "UTC"}, "active": True}
    change("PATCH", api, {"parameters": edited, "paused": True, "schedules": [schedule]})
    async with get_client() as client:
        (shown,) = [it for it in await batch_schedules.schedules(client) if it.name == one.name]
    assert (shown.paused, shown.when, shown.file, shown.model) == (True, "*/5 * * * * (UTC)", other, "small")
    await run_now(deployment)
    async with runner(store) as batches:
        assert await batches.run_due() == 1
        await until_settled(batches, store)
    (folder,) = (tmp_path / "elsewhere").iterdir()
    (batch,) = (await store.page(None))[0]
    (failed,) = await store.failed_items(batch.id)
    assert json.loads(failed.params)["model"] == "small"
    assert len((folder / "results.jsonl").read_text().splitlines()) == 2


async def test_canceling_the_run_cancels_the_batch(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    _, deployment = await make(wanted(tmp_path, a_file(tmp_path / "a.jsonl", "a", "b")))
    run = await run_now(deployment)
    limit = time.monotonic() + 60
    async with runner(store) as batches:
        assert await batches.run_due() == 1
        while not await store.open_batches():
            assert time.monotonic() < limit
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)  # the flow learns the batch's id after the store has it
        canceling = {"state": {"type": "CANCELLING"}, "force": True}
        change("POST", f"{prefect_server.url}/flow_runs/{run.id}/set_state", canceling)
        await batches.run_due()
        (batch,) = await store.open_batches()
        assert batch.status == "canceling"
        await until_settled(batches, store)
    assert (await state_of(run)).is_cancelled()
    (folder,) = (tmp_path / "out").iterdir()
    assert len((folder / "failures.jsonl").read_text().splitlines()) == 2


async def test_of_overdue_times_the_last_stands_for_all(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    _, deployment = await make(wanted(tmp_path, a_file(tmp_path / "a.jsonl", "a")))
    api = prefect_server.url
    runs = []
    for hours in (3, 2, 1):
        run = await run_now(deployment)
        due = datetime.fromtimestamp(time.time() - 3600 * hours, UTC).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
        change("POST", f"{api}/flow_runs/{run.id}/set_state", {"state": state, "force": True})
        runs.append(run)
    from coordinators import scheduled_batches

    async with get_client() as client:
        found = await scheduled_batches.due_runs(client, [deployment.id])
        assert [run.id for run in found] == [run.id for run in runs]
        for run in found:
            run.auto_scheduled = True
        last = await scheduled_batches.newest(client, found)
    assert [run.id for run in last] == [runs[2].id]
    assert [(await state_of(run)).is_cancelled() for run in runs] == [True, True, False]


async def test_schedules_are_made_changed_listed_and_removed(scheduling: Any, tmp_path: Path) -> None:
    one = wanted(tmp_path, str(tmp_path / "a.jsonl"))
    assert (await make(one))[0] is True
    new, deployment = await make(replace(one, cron="30 4 * * 1", model="small"))
    assert new is False
    assert [schedule.schedule.cron for schedule in deployment.schedules] == ["30 4 * * 1"]
    assert deployment.parameters["model"] == "small"
    assert deployment.parameter_openapi_schema["properties"].keys() == {"file", "output", "model"}
    with pytest.raises(ScheduleRefused, match="give another --name"):
        await make(replace(one, file="/elsewhere.jsonl"))
    for changed, why in (({"cron": "soon"}, "--cron 'soon'"), ({"timezone": "Mars"}, "--timezone 'Mars'")):
        with pytest.raises(ScheduleRefused, match=why):
            await make(replace(one, **changed))
    async with get_client() as client:
        assert one.name in [it.name for it in await batch_schedules.schedules(client)]
        await batch_schedules.remove(client, one.name)
        with pytest.raises(ScheduleRefused, match="there is no schedule"):
            await batch_schedules.remove(client, one.name)


async def test_on_a_shared_server_a_schedule_is_its_machines(
    scheduling: Any, prefect_server: Any, store: SqlBatchStore, tmp_path: Path
) -> None:
    _, deployment = await make(wanted(tmp_path, a_file(tmp_path / "a.jsonl", "a")), shared=True)
    assert batch_schedules.machine_of(deployment) is not None
    tags = {"tags": ["headgate", "batch", "machine:another"]}
    change("PATCH", f"{prefect_server.url}/deployments/{deployment.id}", tags)
    run = await run_now(deployment)
    async with runner(store) as batches:
        assert await batches.run_due() == 0
    assert (await state_of(run)).is_scheduled()


async def test_steps_alone(store: SqlBatchStore, tmp_path: Path) -> None:
    with pytest.raises(ScheduleFailed, match="is empty"):
        await read_file.fn("", None)
    assert await read_file.fn(a_file(tmp_path / "a.jsonl", *map(str, range(1200))), None) == 1200
    desk = Desk(store, "anyone", "once", datetime.now(UTC), 1, asyncio.get_running_loop())
    first = await submit.fn(str(tmp_path / "a.jsonl"), None, desk)
    assert await submit.fn(str(tmp_path / "a.jsonl"), None, desk) == first == desk.batch_id
    batch = await store.get(first)
    assert batch is not None
    assert (batch.items, batch.label) == (1200, "a.jsonl")
    assert "succeeded | 0" in summary(batch, "a.jsonl", {})


async def test_a_file_is_looked_through_beside_the_loop(
    store: SqlBatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noted(*given: Any) -> Any:
        threads.append(threading.current_thread())
        return batch_file.survey(*given)

    monkeypatch.setattr("tasks.batch_input.survey", noted)
    desk = Desk(store, "anyone", "once", datetime.now(UTC), 1, asyncio.get_running_loop())
    file = a_file(tmp_path / "a.jsonl", "a", "b")
    assert await read_file.fn(file, None) == 2
    assert await submit.fn(file, None, desk)
    assert len(threads) == 2
    assert threading.main_thread() not in threads
    (tmp_path / "a.jsonl").write_text("{")
    desk.key = "twice"
    with pytest.raises(ScheduleFailed, match="line 1"):
        await submit.fn(file, None, desk)


async def test_the_run_shows_no_message_of_an_error(
    store: SqlBatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    async def show(text: str, **_: Any) -> None:
        shown.append(text)

    monkeypatch.setattr("tasks.scheduled_batch.acreate_markdown_artifact", show)
    desk = Desk(store, "anyone", "once", datetime.now(UTC), 1, asyncio.get_running_loop(), 0.01)
    made = await submit.fn(a_file(tmp_path / "a.jsonl", "a", "bad-1", "bad-2"), None, desk)
    await answer(store)
    folder = await write_results.fn(await wait_for.fn(made, desk), "a.jsonl", str(tmp_path / "out"), desk)
    assert "| api_error | 2 | =no\\|luck |" in (Path(folder) / "summary.md").read_text()
    (text,) = shown  # upstreams quote prompts
    assert "| api_error | 2 |\n" in text
    assert "luck" not in text
