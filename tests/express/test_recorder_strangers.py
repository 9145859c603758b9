"""Somebody else on the port of our Prefect server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from express.recorder.server import Mark
from tests.express.recording import Door, named, recorded, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coordinators.prefect_server import PrefectServer
    from express.recorder import SocketSink
    from tests.express.conftest import PrefectReader


class Stranger:
    """Takes whatever it is sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.status = 200
        self.answer: Any = {"id": "0" * 32}

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path}")
        return web.json_response(self.answer, status=self.status)


@asynccontextmanager
async def listening(handle: Any, port: int = 0) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_a_stranger_is_sent_nothing(
    begin: Any, to: SocketSink, prefect: PrefectReader, prefect_server: PrefectServer
) -> None:
    stranger = Stranger()
    async with listening(stranger.handle) as port:
        recorder = await begin(f"http://127.0.0.1:{port}/api", mark=prefect_server.mark)
        run = named("not-for-strangers", to)
        run.finish("completed")
        await until(lambda: "not our Prefect server" in str(recorder.stats()["trouble"]))
        stranger.answer = {"client": {"custom_headers": {prefect_server.mark.name: "another's"}}}
        count = len(stranger.seen)
        await until(lambda: len(stranger.seen) > count + 1)
        stranger.status = 503
        await until(lambda: recorder.stats()["trouble"] == "GET /admin/settings: HTTP 503")
        assert recorder.stats()["prefect"] == "down"
        assert set(stranger.seen) == {"GET /api/admin/settings"}
        recorder.api.url = prefect_server.url
        await prefect.flow_run(run.name, "Completed")


async def test_a_stranger_that_takes_the_port_in_the_midst_of_it_is_sent_nothing(
    begin: Any, to: SocketSink, prefect: PrefectReader, prefect_server: PrefectServer
) -> None:
    door, stranger = Door(prefect.api.removesuffix("/api")), Stranger()
    async with listening(door.handle) as port:
        recorder = await begin(f"http://127.0.0.1:{port}/api", mark=Mark(*prefect_server.mark))
        run = named("begun", to)
        run.begin()
        await prefect.flow_run(run.name, "Running")
    async with listening(stranger.handle, port):
        run.finish("completed")
        await until(lambda: stranger.seen)
        await until(lambda: "not our Prefect server" in str(recorder.stats()["trouble"]))
        assert set(stranger.seen) == {"GET /api/admin/settings"}
    async with listening(door.handle, port):
        await recorded(recorder, 1)
    assert (await prefect.flow_run(run.name))["state_name"] == "Completed"
