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

    from tasks.exchange import Streaming, Whole
    from tasks.live_stream import Telling


class Flights:
    """The calls in flight, by key: whole answers and streams apart.

    Whoever leaves, the first one included, leaves the call to the others; the last one ends it.
    """

    def __init__(self) -> None:
        self._calls: dict[bytes, _Call] = {}
        self._streams: dict[bytes, _Broadcast] = {}

    async def whole(self, key: bytes, ask: Callable[[], Awaitable[Whole]]) -> tuple[Whole, bool]:
        """Give what `ask` does, and whether somebody else had asked already."""
        call = self._calls.get(key)
        joined = call is not None
        if call is None:
            call = self._calls[key] = _Call(ask, lambda ended: _forget(self._calls, key, ended))
        answer: Whole = await call.result()
        return answer, joined

    async def stream(self, key: bytes, ask: Callable[[], Awaitable[Streaming]]) -> tuple[Streaming, bool]:
        """Give a reader of the stream that `ask` opens, likewise. Who reads it closes it."""
        shared = self._streams.get(key)
        joined = shared is not None
        if shared is None:
            shared = self._streams[key] = _Broadcast(ask, lambda ended: _forget(self._streams, key, ended))
        return await shared.reader(), joined


def _forget(flights: dict[bytes, Any], key: bytes, ended: Any) -> None:
    if flights.get(key) is ended:
        del flights[key]


class _Call:
    """One call that several requests await."""

    def __init__(self, ask: Callable[[], Awaitable[Any]], forget: Callable[[_Call], None]) -> None:
        self._wanted = 0
        self._forget = forget
        self._task = asyncio.ensure_future(ask())
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Future[Any]) -> None:
        self._forget(self)
        if not task.cancelled():
            task.exception()  # looked at, though everybody may have left

    async def result(self) -> Any:
        """Wait for the result; the last one to leave before it is there ends the call."""
        self._wanted += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._wanted -= 1
            if not self._wanted and not self._task.done():
                self._forget(self)
                self._task.cancel()


class _Broadcast:
    """One upstream stream that several requests read, each from its beginning."""

    def __init__(self, ask: Callable[[], Awaitable[Streaming]], forget: Callable[[_Broadcast], None]) -> None:
        self.pieces: list[bytes] = []
        self.ended = False
        self.error: GatewayError | None = None
        self._readers = 0
        self._forget = forget
        self._changed = asyncio.Event()
        self._opening: asyncio.Future[Streaming] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read(ask))

    async def reader(self) -> Streaming:
        """Wait until the stream is open, and give a reader of it; raises what opening it raised."""
        self._readers += 1
        try:
            opened = await asyncio.shield(self._opening)
        except BaseException:
            self.leave()
            raise
        return replace(opened, live=_Reader(self, opened.live.translator), headers=dict(opened.headers))

    def leave(self) -> None:
        """One reader fewer; the last one to leave before the end closes the stream."""
        self._readers -= 1
        if not self._readers and not self.ended:
            self._forget(self)
            self._task.cancel()

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


class _Reader:
    """One request's view of a shared stream, with the interface of a `LiveStream`."""

    def __init__(self, shared: _Broadcast, translator: Telling) -> None:
        self.translator = translator
        self.cut = False
        self._shared = shared
        self._closed = False

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

    async def close(self) -> None:
        """Leave the stream to its other readers."""
        if not self._closed:
            self._closed = True
            self._shared.leave()
            self._shared.wake()
