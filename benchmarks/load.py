"""The load: one process that is told on standard input what to ask, and answers on standard output.

One JSON object a line, each way. `{"do": "load", …}` runs one cell; `{"do": "idle", …}` opens many silent
streams and holds them until `{"do": "close"}`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from functools import partial
from time import perf_counter
from typing import Any, cast

import uvloop

from benchmarks.bodies import CLIENT_KEY, request_body
from benchmarks.connection import Connection, Tally

Json = dict[str, Any]
DRAIN_SECONDS = 15.0


def http_request(order: Json) -> bytes:
    """Render the whole request an order describes, as Claude Code would head it."""
    body = request_body(order["size"], order["model"], stream=order["stream"])
    extra = "".join(f"{name}: {value}\r\n" for name, value in order.get("headers", {}).items())
    head = (
        f"POST {order['path']} HTTP/1.1\r\nhost: 127.0.0.1:{order['port']}\r\n"
        "content-type: application/json\r\naccept: application/json\r\n"
        "user-agent: claude-cli/2.1.330 (external, cli)\r\nanthropic-version: 2023-06-01\r\n"
        f"x-api-key: {CLIENT_KEY}\r\n{extra}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _quantile(values: list[float], share: float) -> float:
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _summary(tally: Tally, seconds: float) -> Json:
    return {
        "requests_per_s": tally.requests / seconds,
        "events_per_s": tally.events / seconds,
        "p50_ms": 1e3 * (statistics.median(tally.latencies) if tally.latencies else 0.0),
        "p99_ms": 1e3 * _quantile(tally.latencies, 0.99),
        "first_byte_p50_ms": 1e3 * (statistics.median(tally.first_bytes) if tally.first_bytes else 0.0),
        "total": tally.total,
        "errors": tally.errors,
        "first_error": tally.first_error,
    }


async def run_load(order: Json) -> Json:
    """Ask over `concurrency` connections for warm-up and window, then let what is under way end."""
    request = http_request(order)
    loop = asyncio.get_running_loop()
    since = perf_counter() + order["warm_up"]
    tally = Tally(since, since + order["seconds"])
    connections: list[Connection] = []
    for _ in range(order["concurrency"]):
        make = partial(Connection, request, tally, stream=order["stream"])
        _, connection = await loop.create_connection(make, "127.0.0.1", order["port"])
        connections.append(connection)
    waiting = [connection.done for connection in connections]
    _, late = await asyncio.wait(waiting, timeout=tally.until - perf_counter() + DRAIN_SECONDS)
    for connection in connections:
        if connection.done in late:
            tally.fail("an answer did not end in time")
            connection.done.cancel()
            connection.transport.abort()
    return _summary(tally, order["seconds"])


class IdleStream(asyncio.Protocol):
    """Asks for one stream and remembers whether its first event came."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.seen = b""
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.seen = (self.seen + data)[:4096]
        if not self.opened.done() and (b"data:" in self.seen or b" 200" not in self.seen[:13]):
            self.opened.set_result(b" 200" in self.seen[:13])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if not self.opened.done():
            self.opened.set_result(False)


class IdleStreams:
    """The silent streams now open."""

    def __init__(self) -> None:
        self.streams: list[IdleStream] = []

    async def open(self, order: Json) -> Json:
        request = http_request(order)
        started = perf_counter()
        for begin in range(0, order["count"], 20):
            size = min(20, order["count"] - begin)
            if not await self._open_batch(request, size, order["port"], started + order["seconds"]):
                break
        opened = [stream for stream in self.streams if stream.opened.done() and stream.opened.result()]
        return {"open": len(opened), "seconds": perf_counter() - started}

    async def _open_batch(self, request: bytes, size: int, port: int, until: float) -> bool:
        loop = asyncio.get_running_loop()
        waiting = []
        for _ in range(size):
            _, stream = await loop.create_connection(partial(IdleStream, request), "127.0.0.1", port)
            self.streams.append(stream)
            waiting.append(stream.opened)
        _, late = await asyncio.wait(waiting, timeout=max(0.0, until - perf_counter()))
        return not late

    async def close(self) -> Json:
        closed = len(self.streams)
        for stream in self.streams:
            stream.transport.abort()
        self.streams.clear()
        await asyncio.sleep(0.2)
        return {"closed": closed}


async def _answer(order: Json, idle: IdleStreams) -> Json:
    match order["do"]:
        case "load":
            return await run_load(order)
        case "idle":
            return await idle.open(order)
        case _:
            return await idle.close()


async def _main() -> None:
    idle = IdleStreams()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = await _answer(json.loads(line), idle)
        except OSError as error:
            answer = {"failed": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(_main())
