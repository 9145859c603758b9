"""`headgate worker`: two of them and one server share a batch in PostgreSQL; one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from coordinators.batch_store import SqlBatchStore
from tests.coordinators.batch_bench import Bench, ask
from tests.fakes.gateway import OURS, GatewayProcess

pytestmark = pytest.mark.timeout(500)


def run_worker(*arguments, **settings):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith((*OURS, "DATABASE_URL"))}
    return subprocess.Popen(
        [sys.executable, "-m", "headgate", "worker", *arguments],
        env={**inherited, **settings}, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "HEADGATE_WORK_POOL"),
        ({"HEADGATE_WORK_POOL": "p"}, "DATABASE_URL"),
        ({"HEADGATE_WORK_POOL": "p", "DATABASE_URL": "postgresql://127.0.0.1:9/none"}, "PREFECT_API_URL"),
        (
            {
                "HEADGATE_WORK_POOL": "p",
                "DATABASE_URL": "postgresql://127.0.0.1:9/none",
                "PREFECT_API_URL": "http://127.0.0.1:9/api",
            },
            "OPENROUTER_API_KEY",
        ),
    ],
)
def test_what_a_worker_needs_is_told(tmp_path, settings, told):
    worker = run_worker(HEADGATE_DATA_DIR=str(tmp_path), **settings)
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 2
    assert told in errors
    assert "Traceback" not in errors


def test_a_server_with_a_pool_needs_postgresql(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "headgate", "serve", "--port", "0"],
        env={k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        | {"HEADGATE_WORK_POOL": "p", "HEADGATE_DATA_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "DATABASE_URL" in done.stderr


@pytest.mark.kills
async def test_two_workers_share_a_batch_and_one_is_killed(tmp_path, openrouter):
    from tests.fakes.postgres_server import PostgresServer

    openrouter.script({"text": "Fine.", "first_delay": 0.1, "times": 0})
    database = PostgresServer().start()
    given = {
        "OPENROUTER_API_KEY": "k",
        "OPENROUTER_BASE_URL": openrouter.base_url,
        "DATABASE_URL": database.url(),
        "HEADGATE_WORK_POOL": "shared",
        "HEADGATE_BATCH_LEASE": "3",
        "HEADGATE_BATCH_CONCURRENCY": "2",
        "HEADGATE_BATCH_PREFECT_SECONDS": "120",
        "HEADGATE_DATA_DIR": str(tmp_path),
    }
    bench = Bench(tmp_path, openrouter.base_url, chunk=10)
    bench.store = SqlBatchStore(database.url(), chunk=10)
    await bench.store.open()
    workers: list[subprocess.Popen[str]] = []
    try:
        with GatewayProcess(**given) as gateway:
            api = httpx.get(f"{gateway.url}/health/detailed").json()["prefect"]["api_url"]
            wait_until_up(api)
            workers = [run_worker(PREFECT_API_URL=api, **given) for _ in range(2)]
            batch = await bench.make(*(ask(f"{n}") for n in range(200)))
            await bench.until(batch, lambda one: one.counts.succeeded >= 20, seconds=150)
            workers[0].send_signal(signal.SIGKILL)
            ended, results = await bench.ended(batch)
            workers[1].send_signal(signal.SIGTERM)
            _, errors = workers[1].communicate(timeout=40)
            assert workers[1].returncode == 0, errors
            assert "chunk done" in errors
        assert ended.counts.succeeded == 200
        assert [result.custom_id for result in results] == [f"item-{n}" for n in range(200)]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
        await bench.store.close()
        database.stop()


def wait_until_up(api):
    limit = time.monotonic() + 200
    while True:
        try:
            if httpx.get(f"{api}/health").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < limit
        time.sleep(0.2)
