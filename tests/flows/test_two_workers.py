"""Two `headgate worker` processes share a small batch in PostgreSQL; one is killed in the midst of a chunk.

`make kills` has more of the kind, with a whole server in front.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from sqlalchemy import select

from coordinators.batch_heart import Heart
from coordinators.batch_runs import BatchRuns
from coordinators.batch_store import SqlBatchStore
from coordinators.batch_tables import chunks
from coordinators.prefect_thread import PrefectThread
from tests.coordinators.batch_bench import Bench, ask
from tests.fakes.postgres_server import PostgresServer
from tests.flows.marks import SOCKETS_LEFT
from tests.headgate.test_worker_process import run_worker

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from coordinators.prefect_server import PrefectServer
    from tests.fakes.handle import FakeOpenRouter

Workers: TypeAlias = "list[subprocess.Popen[str]]"

ITEMS, CHUNK = 60, 10
POOL = "shared"

# Prefect's engine leaves its clients' sockets to the collector
pytestmark = [
    pytest.mark.postgres,
    SOCKETS_LEFT,
]


@pytest.fixture
async def bench(tmp_path: Path, openrouter: FakeOpenRouter) -> AsyncIterator[Bench]:
    openrouter.script({"text": "Fine.", "first_delay": 0.2, "times": 0})
    with PostgresServer() as database:
        bench = Bench(tmp_path, openrouter.base_url, CHUNK)
        bench.url = database.url()
        bench.store = SqlBatchStore(bench.url, chunk=CHUNK)
        async with bench.store:
            yield bench


@pytest.fixture
def workers(bench: Bench, native: Any, prefect_server: PrefectServer) -> Iterator[Workers]:
    given = {
        "OPENROUTER_API_KEY": "k",
        "OPENROUTER_BASE_URL": bench.upstream,
        "DATABASE_URL": bench.url,
        "PREFECT_API_URL": prefect_server.url,
        "HEADGATE_WORK_POOL": POOL,
        "HEADGATE_BATCH_LEASE": "2",
        "HEADGATE_BATCH_CONCURRENCY": "2",
        "HEADGATE_DATA_DIR": str(bench.folder),
    }
    running = [run_worker("--limit", "1", **given) for _ in range(2)]
    yield running
    for worker in running:
        worker.kill()
        worker.communicate()


@pytest.fixture
async def prefect(native: Any) -> AsyncIterator[BatchRuns]:
    runs = BatchRuns(PrefectThread(), patience=120.0)
    yield runs
    await runs.thread.close()


async def test_a_worker_goes_on_with_what_a_killed_one_had(
    bench: Bench, prefect: BatchRuns, workers: Workers
) -> None:
    doomed, heir = workers
    for worker in workers:
        await asyncio.to_thread(until_ready, worker)
    batch = await bench.make(*(ask(f"{number}") for number in range(ITEMS)))
    async with bench.engine(owner="server", prefect=prefect, pool=POOL, heart=Heart(bench.store, 2.0)):
        await until_it_has_a_chunk(bench, doomed.pid)
        doomed.kill()
        ended, results = await bench.ended(batch)
    heir.terminate()
    _, told = heir.communicate(timeout=40)
    assert heir.returncode == 0, told
    assert told.count('"chunk done"') >= 2, told
    assert ended.counts.succeeded == ITEMS
    assert [result.custom_id for result in results] == [f"item-{number}" for number in range(ITEMS)]


def until_ready(worker: subprocess.Popen[str]) -> None:
    """Wait until it looks for chunks."""
    assert worker.stderr is not None
    for line in worker.stderr:
        if '"worker ready"' in line:
            return
    raise AssertionError("it ended")


async def until_it_has_a_chunk(bench: Bench, pid: int) -> None:
    limit = time.monotonic() + 100
    while not any(f"/{pid}:" in owner for owner in await bench.store.database.read(owners_of_chunks)):
        assert time.monotonic() < limit
        await asyncio.sleep(0.02)


def owners_of_chunks(connection: Connection) -> list[str]:
    return list(connection.execute(select(chunks.c.owner).where(chunks.c.owner.is_not(None))).scalars())
