"""Uvicorn's HTTP protocol, with the three things it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from routers.answering import GONE, WRITE_WHOLE
from wire.errors import InvalidRequest, error_body
from wire.messages import new_id

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_REQUEST_SECONDS = 30.0
_MOST_UNREAD = 512 * 1024


class Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, with a deadline, word of a client that leaves, and our form of its own refusals.

    A request's headers and the first of its body must arrive within 30 s; then reading has its own time-out.
    Uvicorn tells of a lost connection only to who waits in `receive`: a task for each request. Here the scope
    may hold, under `GONE`, what is to be called instead.
    """

    _deadline: asyncio.TimerHandle | None = None
    _awaited = False  # a request has begun, and its body has not
    _answering: Any = (
        None  # the request being answered; `cycle` is the last one read, which may wait its turn
    )

    def connection_made(self, transport: Any) -> None:
        """Start the deadline of the first request."""
        super().connection_made(transport)
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        """Start the deadline of a request that is not whole yet; most are, and a timer costs 2 us."""
        super().data_received(data)
        if self._awaited and self._deadline is None:
            self._start_deadline()

    def on_message_begin(self) -> None:
        """Each request has a deadline of its own."""
        super().on_message_begin()
        self._stop_deadline()
        self._awaited = True

    def on_headers_complete(self) -> None:
        """Read on behind a request that waits for its turn, or nobody would see the client leave."""
        # Of this protocol, not of the request: who holds its own scope waits for the collector of garbage.
        self.scope[WRITE_WHOLE] = self._write_whole  # type: ignore[literal-required]
        super().on_headers_complete()
        if len(self.pipeline) == 1:
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Stop the deadline: the body has begun. Take the piece as it is, where uvicorn would copy it twice.

        Reading pauses at 512 KB instead of 64: most of Claude Code's requests are larger than that, and
        pausing costs two system calls.
        """
        self._stop_deadline()
        cycle: Any = self.cycle
        if cycle.response_complete or self.parser.should_upgrade():
            super().on_body(body)
            return
        if not cycle.body:
            cycle.body = body
        else:
            cycle.body = bytearray(cycle.body) if type(cycle.body) is bytes else cycle.body
            cycle.body += body
        if len(cycle.body) > _MOST_UNREAD:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Stop the deadline: the request is here."""
        self._stop_deadline()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline with the connection, and say so to who is answering."""
        self._stop_deadline()
        super().connection_lost(exc)
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if leave := cycle.scope.get(GONE):
                leave()
        # Each of them holds this protocol: else all would wait for the collector of garbage.
        self._answering = None
        self.cycle = self.scope = None  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP request, an unknown method too, in the form of every other error."""
        request_id = new_id("req")
        body = orjson.dumps(error_body(InvalidRequest(msg), request_id))
        lines = [STATUS_LINE[400]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(
            b"content-type: application/json\r\ncontent-length: %d\r\nrequest-id: %b\r\n"
            b"connection: close\r\n\r\n%b" % (len(body), request_id.encode(), body)
        )
        self.transport.write(b"".join(lines))
        self.transport.close()

    def _write_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole answer in one write, where uvicorn makes two; False if it must go uvicorn's way."""
        cycle = self._answering
        if cycle is None:
            return True  # the connection is gone
        values = b"".join([value for _, value in headers])
        if cycle.response_started or self.flow.write_paused or b"\n" in values or b"\r" in values:
            return False
        if cycle.disconnected:
            return True
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join(lines))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(_REQUEST_SECONDS, self.transport.close)

    def _stop_deadline(self) -> None:
        self._awaited = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
