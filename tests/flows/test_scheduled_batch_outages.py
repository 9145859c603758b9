"""A database that goes and comes back while a scheduled batch is under way; batches deleted meanwhile."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from coordinators.batch_store import SqlBatchStore
from coordinators.database import Database
from express import Run
from flows.scheduled_batch import scheduled_batch
from tasks import patience
from tasks.batch import StoreFailed
from tasks.scheduled_batch import Desk, ScheduleFailed, find_batch, submit, wait_for, write_results
from tests.flows.scheduled import a_file, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAMES = [f"bad-{number}" if number % 2 else f"good-{number}" for number in range(1300)]
"""Three pages of results, four of what failed."""


class Restarting(Database):
    """A database that goes at the first and the third of every kind of transaction.

    What only reads fails before it is done, what writes after: its answer is lost.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: Counter[str] = Counter()

    def _gone(self, work: Any) -> bool:
        self.asked[work.__name__] += 1
        return self.asked[work.__name__] in {1, 3}

    async def read(self, work: Any, *args: Any, **more: Any) -> Any:
        if self._gone(work):
            raise StoreFailed("the connection was lost (57P01)")
        return await super().read(work, *args, **more)

    async def write(self, work: Any, *args: Any, **more: Any) -> Any:
        done = await super().write(work, *args, **more)
        if self._gone(work):
            raise StoreFailed("the connection was lost (57P01)")
        return done


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlBatchStore]:
    async with SqlBatchStore(f"sqlite:///{tmp_path / 'batches.db'}", chunk=200) as made:
        yield made


@asynccontextmanager
async def restarting(store: SqlBatchStore) -> AsyncIterator[tuple[SqlBatchStore, Counter[str]]]:
    """Give a store of the same database, which goes again and again."""
    other = SqlBatchStore(f"sqlite:///{store.database.path}", chunk=200)
    database = Restarting(f"sqlite:///{store.database.path}")
    database.asked.update(["version"])  # so that it opens
    other.database = database
    await database.open()
    try:
        yield other, database.asked
    finally:
        await database.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def show(*_: Any, **__: Any) -> None:
        """Prefect's part, which has tests of its own."""

    monkeypatch.setattr(patience, "_PAUSE", 0.001)
    monkeypatch.setattr("tasks.scheduled_batch.acreate_markdown_artifact", show)


def a_desk(store: SqlBatchStore) -> Desk:
    return Desk(store, "anyone", "once", datetime.now(UTC), 1, asyncio.get_running_loop(), 0.01)


async def test_a_database_that_restarts_costs_no_output(
    store: SqlBatchStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = a_file(tmp_path / "a.jsonl", *NAMES), str(tmp_path / "out")
    async with restarting(store) as (gone, asked):
        run = Run(scheduled_batch.name, name="test")
        running = asyncio.create_task(run.call(scheduled_batch, file, output, None, a_desk(gone)))
        while not running.done():
            await answer(store)
            await asyncio.sleep(0.01)
        folder = tmp_path / "out" / (await running).rpartition("/")[2]
    assert {"batch", "result_page", "failed_items", "of_key", "_add", "_commit"} <= asked.keys()
    assert min(asked["batch"], asked["result_page"], asked["failed_items"]) > 3
    assert len((await store.page(None))[0]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == [folder.name]
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [one["custom_id"] for one in lines] == NAMES
    with (folder / "summary.csv").open(newline="") as table:
        assert [row["custom_id"] for row in csv.DictReader(table)] == NAMES
    failed = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
    assert [one["custom_id"] for one in failed] == [name for name in NAMES if name.startswith("bad")]
    assert "the connection was lost" in capsys.readouterr().out


async def test_an_outage_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    left = 5

    async def ask() -> str:
        nonlocal left
        if left:
            left -= 1
            raise StoreFailed("the connection was lost (57P01)")
        return "there"

    assert await patience.patiently(ask, longest=0.002) == "there"
    told = capsys.readouterr().out
    assert told.count("the store does not answer") == 1
    assert told.count("the store answers again") == 1


async def test_a_run_that_wrote_its_folder_writes_no_second_one(store: SqlBatchStore, tmp_path: Path) -> None:
    desk, output = a_desk(store), str(tmp_path / "out")
    assert await find_batch.fn(desk) is None
    made = await submit.fn(a_file(tmp_path / "a.jsonl", "a"), None, desk)
    desk.batch_id = None
    assert await find_batch.fn(desk) == made == desk.batch_id
    await answer(store)
    batch = await wait_for.fn(made, desk)
    first = await write_results.fn(batch, "a.jsonl", output, desk)
    assert await write_results.fn(batch, "a.jsonl", output, desk) == first
    another = Desk(store, "anyone", "twice", desk.time, 1, desk.home)
    other = await submit.fn(str(tmp_path / "a.jsonl"), None, another)
    await answer(store)
    second = await write_results.fn(await wait_for.fn(other, another), "a.jsonl", output, another)
    assert second == f"{first}-2"
    assert len(list((tmp_path / "out").iterdir())) == 2


class Deleted(SqlBatchStore):
    """A store out of which somebody deletes the batch when `kind` of its pages was read first."""

    kind = ""

    async def results(self, batch_id: str, *, after: int = -1, limit: int = 500) -> Any:
        page = await super().results(batch_id, after=after, limit=limit)
        if self.kind == "results":
            await self.delete(batch_id)
        return page

    async def failed_items(self, batch_id: str, *, after: int = -1, limit: int = 200) -> Any:
        page = await super().failed_items(batch_id, after=after, limit=limit)
        if self.kind == "failed_items":
            await self.delete(batch_id)
        return page


@pytest.mark.parametrize("kind", ["results", "failed_items"])
async def test_of_a_batch_deleted_meanwhile_no_half_files_are_left(tmp_path: Path, kind: str) -> None:
    async with Deleted(f"sqlite:///{tmp_path / 'batches.db'}", chunk=200) as store:
        desk = a_desk(store)
        made = await submit.fn(a_file(tmp_path / "a.jsonl", *NAMES), None, desk)
        await answer(store)
        batch = await wait_for.fn(made, desk)
        store.kind = kind
        with pytest.raises(ScheduleFailed, match="was deleted before its results were written"):
            await write_results.fn(batch, "a.jsonl", str(tmp_path / "out"), desk)
    assert list((tmp_path / "out").iterdir()) == []


async def test_a_file_that_gets_bad_is_told_by_its_places(
    store: SqlBatchStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    for text, told in (
        ("", "there is no request in it"),
        ('{"secret-word": 1}', "1 fault: line 1"),
        ('{"custom_id": "secret-word"}\n\n{"secret-word": 1}', "2 faults: line 1, line 3"),
        ("secret-word\n" * 25, f"25 faults: {', '.join(f'line {number}' for number in range(1, 21))}, …"),
        ('{"requests": [{"secret-word": 1}]}', "1 fault"),
    ):
        file.write_text(text)
        with pytest.raises(ScheduleFailed) as failed:
            await submit.fn(str(file), None, a_desk(store))
        assert str(failed.value) == f"{file}: {told}"
        assert "the file of a scheduled batch is no good" in capsys.readouterr().out
