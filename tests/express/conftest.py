"""What the tests of express share: the API of the real Prefect server, and ways to ask it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from express.recorder import SocketSink
from express.recorder.process import Recorder
from tests.express.recording import Door, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from coordinators.prefect_server import PrefectServer


class PrefectReader:
    """Reads back what a Prefect server has recorded."""

    def __init__(self, session: aiohttp.ClientSession, api: str) -> None:
        self._session, self.api = session, api

    async def filter(self, kind: str, **filters: Any) -> list[dict[str, Any]]:
        async with self._session.post(f"{self.api}/{kind}/filter", json=filters) as response:
            assert response.status == 200, await response.text()
            found: list[dict[str, Any]] = await response.json()
            return found

    async def flow_run(self, name: str, state: str | None = None) -> dict[str, Any]:
        """Wait for the flow run of this name, in this state if one is named.

        Prefect's server shows a state's name a moment before the state itself.
        """
        while True:
            found = await self.filter("flow_runs", flow_runs={"name": {"any_": [name]}})
            if found and (state is None or (state == found[0]["state_name"] and found[0]["state"])):
                return found[0]
            await asyncio.sleep(0.05)

    async def task_runs(self, flow_run_id: str, count: int) -> dict[str, dict[str, Any]]:
        """Wait for that many finished task runs; give them by name, `feeds` being who fed each.

        Prefect's own engine gives task runs a random suffix: they are counted here by their start.
        """
        while True:
            found = await self.of_run("task_runs", flow_run_id)
            done = [t for t in found if t["state_name"] in {"Completed", "Failed", "Cancelled"}]
            if len(done) >= count and all(t["state"] for t in done):
                break
            await asyncio.sleep(0.1)
        names: dict[str, str] = {}
        for task in sorted(found, key=lambda t: str(t["expected_start_time"])):
            kind = task["name"].rpartition("-")[0]
            names[task["id"]] = f"{kind}-{sum(n.rpartition('-')[0] == kind for n in names.values())}"
        for task in found:
            inputs = [i for given in task["task_inputs"].values() for i in given]
            task["feeds"] = {names[i["id"]] for i in inputs}
        return {names[t["id"]]: t for t in found}

    async def of_run(self, kind: str, flow_run_id: str) -> list[dict[str, Any]]:
        return await self.filter(kind, flow_runs={"id": {"any_": [flow_run_id]}})

    async def artifact(self, flow_run_id: str) -> dict[str, Any]:
        """Wait for the flow run's one artifact, which may be written after its state."""
        while not (found := await self.of_run("artifacts", flow_run_id)):
            await asyncio.sleep(0.05)
        (artifact,) = found
        return artifact

    async def logs(self, flow_run_id: str, count: int) -> list[dict[str, Any]]:
        while True:
            found = await self.filter("logs", logs={"flow_run_id": {"any_": [flow_run_id]}})
            if len(found) >= count:
                return sorted(found, key=lambda line: str(line["timestamp"]))
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def prefect(prefect_server: PrefectServer) -> AsyncIterator[PrefectReader]:
    async with aiohttp.ClientSession() as session:
        yield PrefectReader(session, prefect_server.url)


@pytest_asyncio.fixture
async def door(prefect: PrefectReader) -> AsyncIterator[Door]:
    door = Door(prefect.api.removesuffix("/api"))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", door.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    door.url = f"http://127.0.0.1:{port}/api"
    yield door
    await runner.cleanup()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recorder.sock"


@pytest_asyncio.fixture
async def begin(path: Path, prefect: PrefectReader) -> AsyncIterator[Callable[..., Awaitable[Recorder]]]:
    tasks: list[tuple[Recorder, asyncio.Task[None]]] = []

    async def begin(api: str = prefect.api, path: Path = path, **options: Any) -> Recorder:
        recorder = Recorder(path, api, **{"environment": {}, **options})
        tasks.append((recorder, asyncio.create_task(recorder.serve())))
        await until(path.exists)
        return recorder

    yield begin
    for recorder, task in tasks:
        recorder.stopping.set()
        await task


@pytest_asyncio.fixture
async def to(path: Path) -> AsyncIterator[SocketSink]:
    to = SocketSink(path)
    yield to
    await to.close()
