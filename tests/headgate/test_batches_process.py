"""Batches in the process that `headgate serve` keeps for them: killed, stopped and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager

import httpx
import pytest

from coordinators.owners import is_dead, this_owner
from headgate import batches
from headgate.batches import Batches, opened_store
from headgate.instance import Instance
from headgate.settings import Settings
from tests.coordinators.batch_bench import ask, bench_at
from tests.fakes.gateway import GatewayProcess
from tests.fakes.processes import alive

pytestmark = pytest.mark.timeout(600)

SLOW = {"text": "Fine.", "first_delay": 0.5, "times": 0}  # so much is left when a process is ended
QUICK = {"text": "Fine.", "times": 0}


@asynccontextmanager
async def served(folder, openrouter, **settings):
    given = {
        "OPENROUTER_API_KEY": "k",
        "OPENROUTER_BASE_URL": openrouter.base_url,
        "HEADGATE_DATA_DIR": str(folder),
        "HEADGATE_BATCH_CONCURRENCY": "4",
        "HEADGATE_BATCH_LEASE": "600",  # nobody may have to wait until it is over
        **settings,
    }
    with GatewayProcess("--no-prefect", **given) as gateway:
        yield gateway


def batches_of(gateway):
    found = httpx.get(f"{gateway.url}/health/detailed").json()["processes"].get("batches", {})
    return found.get("pid"), found.get("restarts")


async def pid_of(gateway, before=None):
    """Give the number of the process, once it is another one than before."""
    limit = time.monotonic() + 60
    while (pid := batches_of(gateway)[0]) in {None, before}:
        assert time.monotonic() < limit
        await asyncio.sleep(0.1)
    return pid


async def test_killed_it_goes_on_at_once_and_every_request_has_one_result(tmp_path, openrouter):
    openrouter.script(SLOW)
    async with bench_at(tmp_path, openrouter.base_url, chunk=20) as bench:
        batch = await bench.make(*(ask(f"{n}") for n in range(120)))
        async with served(tmp_path, openrouter) as gateway:
            pid = await pid_of(gateway)
            await bench.until(batch, lambda one: one.counts.succeeded > 0, seconds=120)
            os.kill(pid, signal.SIGKILL)
            openrouter.script(QUICK)
            ended, results = await bench.ended(batch)
            await pid_of(gateway, before=pid)
        assert ended.counts.succeeded == 120 == len(results)
        assert [result.custom_id for result in results] == [f"item-{n}" for n in range(120)]
        asked = len(openrouter.requests("chat"))
        assert (
            120 <= asked <= 120 + 200
        )  # at least once: what was answered and not yet recorded is asked again


async def test_stopped_it_records_what_is_done_and_the_next_start_goes_on(tmp_path, openrouter):
    openrouter.script(SLOW)
    async with bench_at(tmp_path, openrouter.base_url, chunk=20) as bench:
        batch = await bench.make(*(ask(f"{n}") for n in range(100)))
        async with served(tmp_path, openrouter):
            await bench.until(batch, lambda one: one.counts.succeeded > 0, seconds=120)
        left = await bench.store.get(batch.id)
        assert 0 < left.counts.succeeded < 100
        assert left.counts.succeeded == len(openrouter.requests("chat"))
        assert not any(state.leased for state in await bench.store.chunks(batch.id))
        openrouter.script(QUICK)
        async with served(tmp_path, openrouter):
            ended, _ = await bench.ended(batch)
        assert ended.counts.succeeded == 100 == len(openrouter.requests("chat"))


async def test_a_server_killed_with_everything_goes_on_when_it_is_back(tmp_path, openrouter):
    openrouter.script(SLOW)
    async with bench_at(tmp_path, openrouter.base_url, chunk=20) as bench:
        batch = await bench.make(*(ask(f"{n}") for n in range(60)))
        async with served(tmp_path, openrouter) as gateway:
            pid = await pid_of(gateway)
            await bench.until(batch, lambda one: one.counts.succeeded > 0, seconds=120)
            gateway.stop(signal.SIGKILL)
            limit = time.monotonic() + 60
            while alive(pid):  # it ends with its parent
                assert time.monotonic() < limit
                await asyncio.sleep(0.05)
        openrouter.script(QUICK)
        async with served(tmp_path, openrouter):
            ended, results = await bench.ended(batch)
        assert ended.counts.succeeded == 60 == len(results)


async def test_a_store_that_cannot_be_opened_is_tried_again(tmp_path):
    blocked = tmp_path / "data"
    blocked.write_text("a file where the folder should be")
    ended = asyncio.Event()
    settings = Settings(_env_file=None, HEADGATE_DATA_DIR=str(blocked))
    opening = asyncio.create_task(opened_store(settings, ended))
    await asyncio.sleep(0.3)
    assert not opening.done()
    blocked.unlink()
    store = await opening
    assert await store.open_batches() == []
    await store.close()
    ended.set()
    assert await opened_store(settings, ended) is None


async def test_old_batches_go_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "SWEEP", 0.01)
    settings = Settings(_env_file=None, HEADGATE_BATCH_KEEP_DAYS=1e-9)
    async with bench_at(tmp_path, "") as bench:
        caring = Batches(settings, Instance("t", str(tmp_path), "DEMO", "", runs="express"), bench.store)
        ended = asyncio.Event()
        task = asyncio.create_task(caring._care(ended))
        while not caring._swept:
            await asyncio.sleep(0.01)
        old = await bench.make(ask("old"))
        await bench.end(old)
        limit = time.monotonic() + 30
        while await bench.store.get(old.id) is not None and time.monotonic() < limit:
            await asyncio.sleep(0.02)
        assert await bench.store.get(old.id) is None
        ended.set()
        await task


def test_only_a_process_that_is_gone_is_dead():
    assert not is_dead(this_owner())
    machine, _, rest = this_owner().partition("/")
    pid, _, started = rest.partition(":")
    assert is_dead(f"{machine}/{pid}:{int(started) - 1}")  # another had its number before
    assert is_dead(f"{machine}/4194305:1")  # beyond what Linux numbers
    assert not is_dead(f"elsewhere{machine}/4194305:1")
    assert not is_dead("a worker of somebody's")
