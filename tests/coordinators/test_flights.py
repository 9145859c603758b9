"""Requests that share a call: nobody's leaving harms the others, and the last one ends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from coordinators.flights import Flights
from tasks.exchange import Streaming, Whole
from wire.errors import Overloaded, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = b"key"


class Upstream:
    """A stream that gives what the test puts into it; a failure is raised, None ends it."""

    def __init__(self) -> None:
        self.cut = False
        self.closed = False
        self.opened = 0
        self.translator: Any = object()
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.gate = asyncio.Event()

    async def ask(self) -> Streaming:
        self.opened += 1
        await self.gate.wait()
        return Streaming(self, {"from": "upstream"})

    async def frames(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def fail(self, error: Any, request_id: str) -> bytes:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


async def read(flights: Flights, upstream: Upstream) -> list[bytes]:
    streaming, _ = await flights.stream(KEY, upstream.ask)
    try:
        return [frame async for frame in streaming.live.frames()]
    finally:
        await streaming.live.close()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_followers_read_from_the_beginning() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.gate.set()
    first = asyncio.create_task(read(flights, upstream))
    upstream.pieces.put_nowait(b"a")
    await turns()
    late, joined = await flights.stream(KEY, upstream.ask)
    assert joined
    assert late.headers == {"from": "upstream"}
    assert late.live.translator is upstream.translator
    upstream.pieces.put_nowait(b"b")
    upstream.pieces.put_nowait(None)
    assert await first == [b"a", b"b"]
    assert [frame async for frame in late.live.frames()] == [b"a", b"b"]
    await late.live.close()
    await late.live.close()
    assert upstream.closed
    assert upstream.opened == 1
    again = asyncio.create_task(read(flights, upstream))  # what has ended is no longer shared
    await turns()
    assert upstream.opened == 2
    again.cancel()
    await asyncio.wait([again])


@pytest.mark.parametrize("opened", [False, True])
async def test_the_first_one_may_leave(opened: bool) -> None:
    flights, upstream = Flights(), Upstream()
    if opened:
        upstream.gate.set()
    leader = asyncio.create_task(read(flights, upstream))
    follower = asyncio.create_task(read(flights, upstream))
    await turns()
    leader.cancel()
    await turns()
    upstream.gate.set()
    upstream.pieces.put_nowait(b"a")
    upstream.pieces.put_nowait(None)
    assert await follower == [b"a"]
    assert leader.cancelled()
    assert upstream.opened == 1


@pytest.mark.parametrize("opened", [False, True])
async def test_the_last_one_to_leave_ends_the_call(opened: bool) -> None:
    flights, upstream = Flights(), Upstream()
    if opened:
        upstream.gate.set()
    readers = [asyncio.create_task(read(flights, upstream)) for _ in range(2)]
    await turns()
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await turns()
    assert upstream.closed is opened
    fresh = Upstream()
    fresh.gate.set()
    fresh.pieces.put_nowait(None)
    assert await read(flights, fresh) == []


async def test_everybody_hears_of_a_failure() -> None:
    for broken, told in ((UpstreamFailed("gone"), "gone"), (ValueError("secret"), "failed on this stream")):
        flights, upstream = Flights(), Upstream()
        upstream.gate.set()
        readers = [asyncio.create_task(read(flights, upstream)) for _ in range(2)]
        upstream.pieces.put_nowait(b"a")
        upstream.pieces.put_nowait(broken)
        for reader in readers:
            with pytest.raises(Exception, match=told):
                await reader
        assert upstream.closed


async def test_everybody_hears_that_it_did_not_open() -> None:
    async def refuse() -> Any:
        await asyncio.sleep(0)
        raise Overloaded("full")

    flights = Flights()
    for flight in (flights.stream, flights.whole):
        tasks = [asyncio.create_task(flight(KEY, refuse)) for _ in range(3)]
        for task in tasks:
            with pytest.raises(Overloaded, match="full"):
                await task


async def test_a_reader_that_is_cut_ends_with_an_error() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.gate.set()
    streaming, _ = await flights.stream(KEY, upstream.ask)
    frames = streaming.live.frames()
    waiting = asyncio.create_task(anext(frames))
    await turns()
    await streaming.live.close()
    with pytest.raises(UpstreamFailed, match="ended"):
        await waiting
    assert b"event: error" in streaming.live.fail(Overloaded("bye"), "req_1")


async def test_whole_answers_are_shared() -> None:
    flights, gate, calls = Flights(), asyncio.Event(), 0

    async def ask() -> Whole:
        nonlocal calls
        calls += 1
        await gate.wait()
        return Whole(b"answer")

    leader, follower, last = (asyncio.create_task(flights.whole(KEY, ask)) for _ in range(3))
    await turns()
    leader.cancel()
    last.cancel()
    await turns()
    gate.set()
    answer, joined = await follower
    assert (answer.body, joined, calls) == (b"answer", True, 1)
    assert (await flights.whole(KEY, ask))[1] is False
    gate.clear()
    alone = asyncio.create_task(flights.whole(KEY, ask))
    await turns()
    alone.cancel()
    await turns()
    assert flights._calls == {}
