"""Runs that a killed process left open are closed by a gateway that has no batch to execute."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from coordinators.batch_orphans import BATCH_TAGS, Swept, store_tag
from headgate import orphans
from headgate.orphans import follow_orphans, orphans_of
from headgate.settings import Settings
from tests.coordinators.batch_bench import ask, bench_at
from tests.fakes.gateway import GatewayProcess

if TYPE_CHECKING:
    from pathlib import Path

    from coordinators.prefect_server import PrefectServer


@pytest.mark.timeout(300)
async def test_a_gateway_without_an_open_batch_closes_what_was_left(
    tmp_path: Path, openrouter: Any, prefect_server: PrefectServer
) -> None:
    api = prefect_server.url
    async with bench_at(tmp_path, openrouter.base_url) as bench:
        batch = await bench.make(ask("a"))
        await bench.end(batch)
        long_ago = text("UPDATE batches SET ended_at = ended_at - 3600")
        await bench.store.database.write(lambda connection: connection.execute(long_ago).rowcount)
        tag = store_tag(await bench.store.name())
    flow = httpx.post(f"{api}/flows/", json={"name": "message_batch"}).json()["id"]
    run = {"flow_id": flow, "parameters": {"batch_id": batch.id}, "state": {"type": "RUNNING"}}
    left, foreign = (
        httpx.post(f"{api}/flow_runs/", json={**run, "tags": [*BATCH_TAGS, one]}).json()["id"]
        for one in (tag, "store:another")
    )
    given = {
        "OPENROUTER_API_KEY": "k",
        "OPENROUTER_BASE_URL": openrouter.base_url,
        "HEADGATE_DATA_DIR": str(tmp_path),
        "PREFECT_API_URL": api,
    }

    def state_of(run_id: str) -> str:
        return str(httpx.get(f"{api}/flow_runs/{run_id}").json()["state"]["type"])

    with GatewayProcess(**given):
        limit = time.monotonic() + 120
        while state_of(left) == "RUNNING":
            assert time.monotonic() < limit
            await asyncio.sleep(0.5)
    assert (state_of(left), state_of(foreign)) == ("CRASHED", "RUNNING")


async def test_a_prefect_that_does_not_answer_is_asked_again_soon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(orphans, "SOON", 0.001)
    monkeypatch.setattr(orphans, "SWEEP", 0.002)
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Looked:
        times = 0

        async def close(self) -> Swept:
            self.times += 1
            if self.times == 6:
                ended.set_result(b"")
            if self.times in {1, 2, 4}:
                raise OSError("nobody listens")
            return Swept(2, 60.0) if self.times == 3 else Swept(0, None)

    looked: Any = Looked()
    await follow_orphans(looked, ended)
    assert looked.times == 6
    told = capsys.readouterr().out
    assert told.count("orphaned runs not seen") == 1  # but not while it had yet to come up
    assert told.count("orphaned flow runs closed") == 1


def test_no_store_is_made_to_look_for_its_runs(tmp_path: Path) -> None:
    closing = orphans_of(Settings(data_dir=tmp_path, _env_file=None))
    assert closing._store_of() is None
    (tmp_path / "headgate.db").touch()
    assert closing._store_of() is not None
