"""Batches that survive kill -9 of every part: server, child, worker, Prefect, PostgreSQL, at random moments.

The upstream fails too: rates, errors, resets and stalls. `HEADGATE_KILLS` is the number of kills and
`HEADGATE_KILLS_SEED` where their moments come from; the table of each test is printed and left in its folder.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from sqlalchemy import select

from coordinators.batch_tables import chunks
from tests.e2e.kills import LONGEST, Killer, Scene, how_many, seed
from tests.fakes.faulty import REFUSED, FakeFaulty, echo_of, plan
from tests.fakes.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.kills import Kind

BAD = "bad-"
FAST = {
    "HEADGATE_ANSWER_TIMEOUT": "2",  # the upstream's stalls are longer
    "HEADGATE_COOLDOWN_SECONDS": "1",
    "HEADGATE_BATCH_CONCURRENCY": "16",
    "HEADGATE_BATCH_CHUNK": "100",
    "HEADGATE_GRACE_SECONDS": "3",
}


@pytest.fixture
def upstream() -> Iterator[FakeFaulty]:
    with FakeFaulty(delay=0.15) as fake:
        yield fake


def asked(count: int) -> list[dict[str, Any]]:
    """Give requests over both of the upstream's wires, some that it refuses, some that are none."""
    found = []
    for number in range(count):
        prefix = {7: REFUSED, 57: BAD}.get(number % 100, "item-")
        name = f"{prefix}{number:05d}"
        model = "openai/gpt-5" if number % 2 else "anthropic/claude-sonnet-4"
        messages = [{"role": "user", "content": f"{name} asks number {number * 7919}"}]
        params: dict[str, Any] = {"model": model, "max_tokens": 50, "messages": messages}
        if prefix == BAD:
            del params["max_tokens"]
        found.append({"custom_id": name, "params": params})
    return found


def check_everything(client: anthropic.Anthropic, batch_id: str, requests: list[dict[str, Any]]) -> None:
    """See that every request has one result, the right one, and that the batch's counts say so."""
    limit = time.monotonic() + 60
    while (batch := client.messages.batches.retrieve(batch_id)).processing_status != "ended":
        assert time.monotonic() < limit, batch
        time.sleep(0.2)
    outcomes: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    texts = {one["custom_id"]: one["params"]["messages"][0]["content"] for one in requests}
    for entry in client.messages.batches.results(batch_id):
        seen[entry.custom_id] += 1
        outcomes[entry.result.type] += 1
        if entry.custom_id.startswith((REFUSED, BAD)):
            assert entry.result.type == "errored", entry
            assert entry.result.error.error.type == "invalid_request_error", entry
        else:
            assert entry.result.type == "succeeded", entry
            (block,) = entry.result.message.content
            assert block.type == "text"
            assert block.text == echo_of(texts[entry.custom_id])
    assert seen == dict.fromkeys(texts, 1)
    bad = sum(name.startswith((REFUSED, BAD)) for name in texts)
    assert outcomes == {"succeeded": len(texts) - bad, "errored": bad}
    counts = batch.request_counts
    assert (counts.succeeded, counts.errored) == (len(texts) - bad, bad)
    assert (counts.processing, counts.canceled, counts.expired) == (0, 0, 0)


def calls_told(upstream: FakeFaulty, requests: list[dict[str, Any]]) -> str:
    """See that every request that is one was asked; say how often because of the kills."""
    counts = upstream.counts()
    names = [one["custom_id"] for one in requests if not one["custom_id"].startswith(BAD)]
    assert set(counts) == set(names)
    needed = {name: 1 if name.startswith(REFUSED) else len(plan(name)) + 1 for name in names}
    assert [name for name in names if counts[name] < needed[name]] == []
    planned, came = sum(needed.values()), sum(counts.values())
    return (
        f"{len(requests):,} requests, each with one result, the right one. {came:,} calls upstream: "
        f"{planned:,} needed ({planned - len(names):,} of them failed as planned), "
        f"{came - planned:,} made again after kills."
    )


async def survive(
    scene: Scene, upstream: FakeFaulty, kinds: tuple[Kind, ...], *, items: int, kills: int, show: Any
) -> Killer:
    """Make a batch with the SDK, kill, and check what came of it."""
    requests: Any = asked(items)
    with anthropic.Anthropic(base_url=scene.server.url, api_key="none") as client:
        batch = client.messages.batches.create(requests=requests)
        killer = Killer(scene, batch.id, kinds, kills, seed())
        show(f"\nseed {killer.seed}")
        await killer.run()
        check_everything(client, batch.id, requests)
    scene.check_no_leftovers()
    table = killer.table(calls_told(upstream, requests))
    show(table)
    (scene.folder / "kills.md").write_text(table)
    assert len(killer.kills) == kills
    assert [kill for kill in killer.kills if kill.note == "after its end"] == []
    return killer


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Any:
    def shown(text: str) -> None:
        with capsys.disabled():
            print(text)

    return shown


@pytest.mark.timeout(240)
async def test_a_batch_survives_three_kills(tmp_path: Path, upstream: FakeFaulty, show: Any) -> None:
    kinds: tuple[Kind, ...] = ("batches", "supervisor")
    async with Scene(tmp_path, upstream, **FAST) as scene:
        await survive(scene, upstream, kinds, items=300, kills=3, show=show)


@pytest.mark.kills
@pytest.mark.timeout(1500)
async def test_a_batch_in_sqlite_survives_kills(tmp_path: Path, upstream: FakeFaulty, show: Any) -> None:
    kinds: tuple[Kind, ...] = ("batches", "supervisor", "everything")
    async with Scene(tmp_path, upstream, **FAST) as scene:
        await survive(scene, upstream, kinds, items=2000, kills=how_many(20), show=show)


@pytest.mark.kills
@pytest.mark.timeout(1500)
async def test_a_batch_under_prefect_survives_kills(tmp_path: Path, upstream: FakeFaulty, show: Any) -> None:
    kinds: tuple[Kind, ...] = ("prefect", "batches", "supervisor", "everything")
    async with Scene(tmp_path, upstream, prefect=True, **FAST) as scene:
        await survive(scene, upstream, kinds, items=2000, kills=min(6, how_many(6)), show=show)


@pytest.mark.kills
@pytest.mark.timeout(1500)
async def test_a_batch_in_postgresql_survives_kills(tmp_path: Path, upstream: FakeFaulty, show: Any) -> None:
    kinds: tuple[Kind, ...] = ("postgres", "postgres", "batches", "supervisor", "everything")
    with PostgresServer(fsync=True) as postgres:
        async with Scene(tmp_path, upstream, postgres=postgres, **FAST) as scene:
            await survive(scene, upstream, kinds, items=2000, kills=how_many(20), show=show)


@pytest.mark.kills
@pytest.mark.timeout(1500)
async def test_a_batch_on_workers_survives_kills(tmp_path: Path, upstream: FakeFaulty, show: Any) -> None:
    kinds: tuple[Kind, ...] = ("worker", "worker", "postgres", "batches", "supervisor")
    settings = FAST | {"HEADGATE_BATCH_LEASE": "6", "HEADGATE_BATCH_PREFECT_SECONDS": "60"}
    with PostgresServer(fsync=True) as postgres:
        async with Scene(tmp_path, upstream, prefect=True, workers=2, postgres=postgres, **settings) as scene:
            await survive(scene, upstream, kinds, items=2000, kills=how_many(20), show=show)


class Shares:
    """What each worker has done: the most results that a chunk of its had, by process number and chunk."""

    def __init__(self, scene: Scene, batch_id: str, items: int) -> None:
        self._scene = scene
        self._batch_id = batch_id
        self._items = items
        self._seen: dict[tuple[int, int], int] = {}

    def of(self, pid: int) -> int:
        return sum(done for (owner, _), done in self._seen.items() if owner == pid)

    async def until(self, condition: Any) -> None:
        limit = time.monotonic() + LONGEST
        while not await self._look() and not condition():
            assert time.monotonic() < limit, f"{self._seen}\n{self._scene.logs()}"
            await asyncio.sleep(0.05)

    async def _look(self) -> bool:
        """Look who has which chunk, and how far it is; True at the end."""
        wanted = select(chunks.c.owner, chunks.c.number, chunks.c.succeeded + chunks.c.errored)
        owned = wanted.where(chunks.c.owner.is_not(None))
        for owner, chunk, done in await self._scene.store.database.read(
            lambda connection: connection.execute(owned).all()
        ):
            pid = int(owner.rpartition("/")[2].partition(":")[0])
            self._seen[pid, chunk] = max(done, self._seen.get((pid, chunk), 0))
        batch = await self._scene.store.get(self._batch_id)
        return batch is None or batch.counts.processing == 0


@pytest.mark.kills
@pytest.mark.timeout(900)
async def test_two_workers_share_a_batch_and_one_is_killed(
    tmp_path: Path, upstream: FakeFaulty, show: Any
) -> None:
    settings = FAST | {
        "HEADGATE_BATCH_LEASE": "4",
        "HEADGATE_BATCH_CONCURRENCY": "6",
        "HEADGATE_BATCH_CHUNK": "40",
        "HEADGATE_BATCH_PREFECT_SECONDS": "120",
    }
    requests: Any = asked(800)
    with PostgresServer() as postgres:
        async with Scene(tmp_path, upstream, prefect=True, workers=2, postgres=postgres, **settings) as scene:
            first, second = (worker.pid for worker in scene.workers)
            with anthropic.Anthropic(base_url=scene.server.url, api_key="none") as client:
                batch = client.messages.batches.create(requests=requests)
                shares = Shares(scene, batch.id, len(requests))
                await shares.until(lambda: shares.of(first) >= 60 and shares.of(second) >= 60)
                left = await scene.store.get(batch.id)
                assert left is not None
                assert left.counts.processing > 200, "too late to kill one"
                scene.workers[0].kill()
                before = shares.of(second)
                await shares.until(lambda: False)
                check_everything(client, batch.id, requests)
            show(
                f"\nworker {first}: at least {shares.of(first)} requests, then killed; worker {second}: "
                f"at least {before} until then, {shares.of(second)} at the end"
            )
            assert shares.of(second) > before
    show(calls_told(upstream, requests))
