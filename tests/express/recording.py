"""What the tests of the recorder share: runs to record, and a door before the real Prefect server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from express import Run, pipeline, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from express.recorder import SocketSink
    from express.recorder.process import Recorder

SECONDS = 20  # for what happens in another process


@step
async def convert(value: Any) -> list[Any]:
    await asyncio.sleep(0.02)
    return [value]


@step
async def call_backend(body: list[Any], error: Exception | None) -> tuple[Any, ...]:
    await asyncio.sleep(0.02)
    if error:
        raise error
    return (body,)


@pipeline
async def messages(value: Any, error: Exception | None = None) -> Any:
    return await call_backend(await convert(value), error)


class Door:
    """A way to the Prefect server that can be shut, slow, or answer with errors."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.answers: list[int] = []
        self.retry_after: str | None = None
        self.delay = 0.0
        self.lost: set[str] = set()  # what is done, but whose answer does not come
        self.busy: set[str] = set()  # what is answered by 503, once
        self.seen: list[str] = []
        self.authorization: str | None = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.authorization = request.headers.get("authorization")
        self.seen.append(f"{request.method} {request.path.removeprefix('/api')}")
        await asyncio.sleep(self.delay)
        if self.seen[-1] in self.busy:
            self.busy.discard(self.seen[-1])
            return web.Response(status=503)
        if self.answers:
            status = self.answers.pop(0)
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
            headers = {"retry-after": self.retry_after} if self.retry_after else {}
            return web.Response(status=status or 500, headers=headers)
        body = await request.read()
        headers = {"content-type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self.target + request.path, data=body, headers=headers) as answer,
        ):
            body = await answer.read()
        if self.seen[-1] in self.lost:
            self.lost.discard(self.seen[-1])
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=answer.status, body=body)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.01)


async def recorded(recorder: Recorder, count: int) -> None:
    await until(lambda: recorder.intake.counters["recorded"] >= count)


def named(name: str, to: SocketSink | None, **options: Any) -> Run:
    return Run("messages", name=f"{name}-{time.time_ns()}", sink=to, **options)
