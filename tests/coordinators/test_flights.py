"""Requests that share a call: nobody's leaving harms the others, and the last one ends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from coordinators.flights import Flights
from tasks.backend import Target
from tasks.exchange import Exchange, Streaming, Whole
from wire.errors import Overloaded, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = b"key"
TARGET = Target("claude", "vendor/claude", "chat", "KEY")


def asking() -> Exchange:
    return Exchange("req_1", {}, b"")


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


async def read(flights: Flights, upstream: Upstream, exchange: Exchange | None = None) -> list[bytes]:
    streaming, _, _ = await flights.stream(KEY, upstream.ask, exchange or asking())
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
    late, _, joined = await flights.stream(KEY, upstream.ask, asking())
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
        tasks = [asyncio.create_task(flight(KEY, refuse, asking())) for _ in range(3)]
        for task in tasks:
            with pytest.raises(Overloaded, match="full"):
                await task


async def test_a_reader_that_is_cut_ends_with_an_error() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.gate.set()
    streaming, _, _ = await flights.stream(KEY, upstream.ask, asking())
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

    leader, follower, last = (asyncio.create_task(flights.whole(KEY, ask, asking())) for _ in range(3))
    await turns()
    leader.cancel()
    last.cancel()
    await turns()
    gate.set()
    answer, joined = await follower
    assert (answer.body, joined, calls) == (b"answer", True, 1)
    assert (await flights.whole(KEY, ask, asking()))[1] is False
    gate.clear()
    alone = asyncio.create_task(flights.whole(KEY, ask, asking()))
    await turns()
    alone.cancel()
    await turns()
    assert flights._calls == {}


# -- who pays
def led() -> tuple[Exchange, Exchange, Exchange]:
    """Make the exchange that asks upstream, and two that join it."""
    leader, first, second = asking(), asking(), asking()
    leader.tried.append(TARGET)
    leader.attempts = 1
    return leader, first, second


def payers(*exchanges: Exchange) -> list[bool]:
    return [bool(one.tried) for one in exchanges]


@pytest.mark.parametrize("leaving", [0, 1, 2])
@pytest.mark.parametrize("answered", [False, True])
async def test_of_those_who_are_there_at_the_end_the_first_pays(leaving: int, answered: bool) -> None:
    flights, gate = Flights(), asyncio.Event()
    exchanges = led()

    async def ask() -> Whole:
        await gate.wait()
        exchanges[0].attempts = 3
        return Whole(b"answer")

    tasks = [asyncio.create_task(flights.whole(KEY, ask, one)) for one in exchanges]
    await turns()
    if answered:  # they leave when the answer is there, and has not reached them
        gate.set()
        await turns(1)
    for task in tasks[:leaving]:
        task.cancel()
    gate.set()
    await asyncio.wait(tasks)
    taken = [not task.cancelled() for task in tasks]
    assert taken == [False] * leaving + [True] * (3 - leaving)
    assert payers(*exchanges[1:]) == [leaving == 1, leaving == 2]
    assert exchanges[leaving].attempts == 3


async def test_who_comes_when_the_answer_is_there_does_not_get_it_before_the_others() -> None:
    flights = Flights()
    leader, late, _ = led()
    comes: list[asyncio.Task[tuple[Whole, bool]]] = []

    async def ask() -> Whole:
        comes.append(asyncio.create_task(flights.whole(KEY, again, late)))  # runs when this has just ended
        return Whole(b"answer")

    async def again() -> Whole:
        return Whole(b"another")

    assert await flights.whole(KEY, ask, leader) == (Whole(b"answer"), False)
    assert await comes[0] == (Whole(b"another"), False)
    assert payers(leader, late) == [True, False]


@pytest.mark.parametrize("opened", [False, True])
async def test_a_stream_is_paid_by_the_first_who_did_not_leave_it(opened: bool) -> None:
    flights, upstream = Flights(), Upstream()
    exchanges = leader, first, second = led()
    if opened:
        upstream.gate.set()
    tasks = [asyncio.create_task(read(flights, upstream, one)) for one in exchanges]
    await turns()
    for place, paying in enumerate((first, second)):
        tasks[place].cancel()
        await turns()
        assert paying.tried is leader.tried
    leader.attempts = 3  # the calls go on until it is open
    upstream.gate.set()
    upstream.pieces.put_nowait(None)
    assert await tasks[2] == []
    assert second.attempts == (1 if opened else 3)


async def test_who_leaves_learns_whether_others_pay() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.gate.set()
    leader, first, second = led()
    readers = [(await flights.stream(KEY, upstream.ask, one))[1] for one in (leader, first, second)]
    assert readers[1].leave()  # the leader goes on reading
    assert payers(first, second) == [False, False]
    assert readers[0].leave()
    assert readers[0].leave()
    assert payers(first, second) == [False, True]
    assert not readers[2].leave()  # the last one pays for what came
    assert payers(first, second) == [False, True]
    await turns()


async def test_after_its_end_a_stream_has_been_paid() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.gate.set()
    leader, first, _ = led()
    readers = [(await flights.stream(KEY, upstream.ask, one))[1] for one in (leader, first)]
    upstream.pieces.put_nowait(None)
    await turns()
    assert not readers[0].leave()
    assert not readers[1].leave()
    assert payers(leader, first) == [True, False]
