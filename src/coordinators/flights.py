"""Identical requests in flight share one upstream call; it goes on while anybody still wants it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wire.errors import GatewayError, UpstreamFailed, error_body
from wire.sse import encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tasks.exchange import Exchange, Streaming, Whole
    from tasks.live_stream import Telling


class Flights:
    """The calls in flight, by key: whole answers and streams apart.

    Whoever leaves, the first one included, leaves the call to the others; the last one ends it. The first one
    pays, since its exchange is the one that was `tried`. If it left, the next one that is still there does:
    what was tried, and the calls that it took, are then its exchange's too.
    """

    def __init__(self) -> None:
        self._calls: dict[bytes, _Call] = {}
        self._streams: dict[bytes, _Broadcast] = {}

    async def whole(
        self, key: bytes, ask: Callable[[], Awaitable[Whole]], exchange: Exchange
    ) -> tuple[Whole, bool]:
        """Give what `ask` does, and whether somebody else had asked already."""
        call = self._calls.get(key)
        joined = call is not None and not call.done
        if call is None or call.done:
            call = self._calls[key] = _Call(ask, exchange, lambda ended: _forget(self._calls, key, ended))
        answer: Whole = await call.result(exchange)
        return answer, joined

    async def stream(
        self, key: bytes, ask: Callable[[], Awaitable[Streaming]], exchange: Exchange
    ) -> tuple[Streaming, Reader, bool]:
        """Give the stream that `ask` opens, and a reader of it, likewise. Who reads it closes it."""
        shared = self._streams.get(key)
        joined = shared is not None
        if shared is None:
            shared = self._streams[key] = _Broadcast(
                ask, exchange, lambda ended: _forget(self._streams, key, ended)
            )
        return *await shared.reader(exchange), joined


def _forget(flights: dict[bytes, Any], key: bytes, ended: Any) -> None:
    if flights.get(key) is ended:
        del flights[key]


def _take_over(exchange: Exchange, leader: Exchange) -> None:
    """Have a request answer for what another one asked: its usage is counted by who was tried."""
    if exchange is not leader:
        exchange.tried, exchange.calls_before = leader.tried, leader.calls_before
        exchange.attempts = leader.attempts


class _Call:
    """One call that several requests await."""

    def __init__(
        self, ask: Callable[[], Awaitable[Any]], leader: Exchange, forget: Callable[[_Call], None]
    ) -> None:
        self._wanted = 0
        self._paid = False
        self._leader = leader
        self._forget = forget
        self._task = asyncio.ensure_future(ask())
        self._task.add_done_callback(self._end)

    @property
    def done(self) -> bool:
        """Whether it has ended: who came now would be given the answer before those who wait for it."""
        return self._task.done()

    def _end(self, task: asyncio.Future[Any]) -> None:
        self._forget(self)
        if not task.cancelled():
            task.exception()  # looked at, though everybody may have left

    async def result(self, exchange: Exchange) -> Any:
        """Wait for the result; the last one to leave before it is there ends the call.

        It is given in the order in which it was waited for, and the first who gets it pays.
        """
        self._wanted += 1
        try:
            answer = await asyncio.shield(self._task)
        finally:
            self._wanted -= 1
            if not self._wanted and not self._task.done():
                self._forget(self)
                self._task.cancel()
        if not self._paid:
            self._paid = True
            _take_over(exchange, self._leader)
        return answer


class _Broadcast:
    """One upstream stream that several requests read, each from its beginning."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Streaming]],
        leader: Exchange,
        forget: Callable[[_Broadcast], None],
    ) -> None:
        self.pieces: list[bytes] = []
        self.ended = False
        self.error: GatewayError | None = None
        self._leader = self._payer = leader
        self._readers: list[Exchange] = []
        self._forget = forget
        self._changed = asyncio.Event()
        self._opening: asyncio.Future[Streaming] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read(ask))

    async def reader(self, exchange: Exchange) -> tuple[Streaming, Reader]:
        """Wait until the stream is open, and give a reader of it; raises what opening it raised."""
        self._readers.append(exchange)
        try:
            opened = await asyncio.shield(self._opening)
        except BaseException:
            self.leave(exchange)
            raise
        if self._payer is exchange:
            _take_over(exchange, self._leader)  # again: it may have taken more calls since
        reader = Reader(self, exchange, opened.live.translator)
        return replace(opened, live=reader, headers=dict(opened.headers)), reader

    def leave(self, exchange: Exchange) -> bool:
        """One reader fewer; give whether the stream goes on for others, of whom one pays for it.

        The last one to leave before the end closes the stream.
        """
        self._readers = [one for one in self._readers if one is not exchange]
        if self.ended:
            return False
        if not self._readers:
            self._forget(self)
            self._task.cancel()
            return False
        if self._payer is exchange:
            self._payer = self._readers[0]
            _take_over(self._payer, self._leader)
        return True

    async def changed(self) -> None:
        """Wait for another piece, or the end."""
        await self._changed.wait()

    def wake(self) -> None:
        """Have every reader look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _read(self, ask: Callable[[], Awaitable[Streaming]]) -> None:
        try:
            opened = await ask()
        except asyncio.CancelledError:
            self._opening.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - it is the readers' to handle
            self._opening.set_exception(error)
            self._opening.exception()  # looked at, though every reader may have left
            return
        else:
            self._opening.set_result(opened)
            await self._pass_on(opened)
        finally:
            self.ended = True
            self._forget(self)
            self.wake()

    async def _pass_on(self, opened: Streaming) -> None:
        try:
            async with aclosing(opened.live.frames()) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    self.pieces.append(frame)
                    self.wake()
        except GatewayError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - each reader tells its client
            self.error = GatewayError(f"the gateway failed on this stream ({type(error).__name__})")
        finally:
            await opened.live.close()


class Reader:
    """One request's view of a shared stream, with the interface of a `LiveStream`."""

    def __init__(self, shared: _Broadcast, exchange: Exchange, translator: Telling) -> None:
        self.translator = translator
        self.cut = False
        self._shared = shared
        self._exchange = exchange
        self._closed = False
        self._others_pay = False

    async def frames(self) -> AsyncIterator[bytes]:
        """Give the stream from its beginning; raises the GatewayError that ended it early."""
        shared, place = self._shared, 0
        while not self._closed:
            if place < len(shared.pieces):
                place += 1
                yield shared.pieces[place - 1]
            elif not shared.ended:
                await shared.changed()
            elif shared.error is not None:
                raise shared.error
            else:
                return
        raise UpstreamFailed("the stream was ended")

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the SSE `error` event that tells the client why the stream ends here."""
        return encode_event(error_body(error, request_id))

    def leave(self) -> bool:
        """Leave the stream to its other readers, if there are any; give whether it then goes on for them."""
        if not self._closed:
            self._closed = True
            self._others_pay = self._shared.leave(self._exchange)
            self._shared.wake()
        return self._others_pay

    async def close(self) -> None:
        """Leave the stream to its other readers."""
        self.leave()
