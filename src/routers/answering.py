"""Send answers: JSON, SSE with pings, errors; and notice at once when the client leaves."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from starlette.responses import Response

from coordinators.request_log import refused_line
from routers.reading import read_exchange, request_id
from tasks.exchange import Sending, Whole
from wire.errors import GatewayError, error_body
from wire.openai_errors import openai_error, openai_status
from wire.sse import COMMENT, PING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Message, Receive, Scope, Send

    from coordinators.error_log import ErrorLog
    from coordinators.request_log import RequestLog
    from tasks.cache import CacheUse
    from tasks.exchange import Exchange, Format

    Headers: TypeAlias = list[tuple[bytes, bytes]]

GONE = "headgate.gone"
"""Where a scope holds what is to be called when the client leaves."""

WRITE_WHOLE = "headgate.write_whole"
"""Where a scope holds what sends a whole answer at once: given a status, headers and body, says if it did."""

_TAIL = 80
_PINGS: dict[Format, bytes] = {"anthropic": PING, "openai": COMMENT}  # OpenAI has no event for it
_ENDS: dict[Format, bytes] = {"anthropic": b"message_stop", "openai": b"[DONE]"}
_JSON = (b"content-type", b"application/json")
_SSE = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Json(Response):
    """A JSON answer with its request id."""

    def __init__(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(orjson.dumps(content), status, headers, "application/json")


def error_response(error: GatewayError, request_id: str, form: Format = "anthropic") -> Response:
    """Render an error in the client's format; an upstream's own in that format goes out unmodified."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.final:
        headers["x-should-retry"] = "false"
    if form == "openai":
        return Json(openai_error(error), openai_status(error), headers)
    body = error.verbatim or orjson.dumps(error_body(error, request_id))
    return Response(body, error.status_sent, headers, "application/json")


def note_error(error: Exception, scope: Scope, exchange: Exchange | None = None) -> GatewayError:
    """Have an error written down that no run of a flow has told of; give what the client is told."""
    if isinstance(error, GatewayError):
        told, crashed = error, False
        if told.hash is not None:
            return told
    else:
        told, crashed = GatewayError(f"the gateway failed on this request ({type(error).__name__})"), True
    state = scope["app"].state
    errors: ErrorLog = state.errors
    path, name = scope["path"][:200], exchange.id if exchange is not None else request_id(scope)
    facts = {} if exchange is not None else {"request_id": name, "method": scope["method"]}
    told.hash = errors.note(
        error, status=told.status_sent, crashed=crashed, exchange=exchange, path=path, **facts
    )
    requests: RequestLog | None = state.requests
    if requests is not None:
        said = {"status": told.status_sent, "error": type(error).__name__, "error_hash": told.hash}
        requests.refused(refused_line(name, path, exchange, **said))
    return told


def id_headers(request_id: str) -> Headers:
    """Give the headers that name a request: Anthropic's and OpenAI's clients each look for theirs."""
    name = request_id.encode()
    return [(b"request-id", name), (b"x-request-id", name)]


class Answering:
    """Reads one request, has it answered, and sends the answer, streamed or whole.

    A client that leaves, before or after the first byte, cancels the answering at once: the server's
    protocol calls what stands in the scope under `GONE` (`headgate.protocol`). `cached`: errors too say what
    the answer cache did; what is well answered has it in its headers already.
    """

    def __init__(
        self,
        answer: Callable[[Exchange], Awaitable[Whole | Sending]],
        *,
        ping_seconds: float,
        form: Format = "anthropic",
        cached: bool = False,
    ) -> None:
        self._answer = answer
        self._cached = cached
        self._form: Format = form
        self._ping_seconds = ping_seconds
        self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        try:
            exchange = await read_exchange(scope, receive)
        except GatewayError as error:
            note_error(error, scope)
            await self._send_error(error, request_id(scope), scope, receive, send)
            return
        working = asyncio.current_task()
        assert working is not None  # noqa: S101 - an ASGI application always runs in a task

        def leave() -> None:
            self._left = True
            working.cancel()

        scope[GONE] = leave
        try:
            await self._send_answer(exchange, scope, receive, send)
        except asyncio.CancelledError:
            # A leaving client's cancellation ends here: nobody is left to answer. The server's own does not.
            if not self._left:
                raise
            working.uncancel()
        finally:
            scope[GONE] = None

    async def _send_answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(exchange)
        except Exception as error:  # noqa: BLE001 - the client is told, the error log has the rest
            told = note_error(error, scope, exchange)
            await self._send_error(told, exchange.id, scope, receive, send, cache=exchange.cache)
            return
        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
        headers += id_headers(exchange.id)
        if isinstance(answer, Whole):
            headers += (_JSON, (b"content-length", b"%d" % len(answer.body)))
            if (write := scope.get(WRITE_WHOLE)) is not None and write(200, headers, answer.body):
                return
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
        else:
            await self._send_frames(answer, _SSE + headers, send)

    async def _send_error(
        self,
        error: GatewayError,
        request_id: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        cache: CacheUse | None = None,
    ) -> None:
        response = error_response(error, request_id, self._form)
        response.raw_headers += id_headers(request_id)
        if self._cached:
            response.headers["x-headgate-cache"] = "bypass" if cache is None else cache.outcome
        await response(scope, receive, send)

    async def _send_frames(self, answer: Sending, headers: Headers, send: Send) -> None:
        end = _ENDS[self._form]
        async with aclosing(answer.frames) as frames:  # type: ignore[type-var]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            pinger = _Pinger(send, self._ping_seconds, answer.ping or _PINGS[self._form])
            try:
                async for frame in frames:
                    if end in frame[-_TAIL:]:
                        pinger.stop()  # the message is over, though the upstream may not have closed yet
                    pinger.sent()
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
            finally:
                pinger.stop()
        await send({"type": "http.response.body", "body": b""})


class _Pinger:
    """Sends a `ping` event when `seconds` pass without a frame. One timer, no task: streams are many."""

    def __init__(self, send: Send, seconds: float, ping: bytes) -> None:
        self._send = send
        self._ping_bytes = ping
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._tick)
        self._sending: asyncio.Task[None] | None = None

    def sent(self) -> None:
        self._last = self._loop.time()

    def _tick(self) -> None:
        silent = self._loop.time() - self._last
        if silent >= self._seconds:
            self._sending = self._loop.create_task(self._ping())
            self.sent()
            silent = 0.0
        self._timer = self._loop.call_later(self._seconds - silent, self._tick)

    async def _ping(self) -> None:
        message: Message = {"type": "http.response.body", "body": self._ping_bytes, "more_body": True}
        with suppress(OSError):
            await self._send(message)

    def stop(self) -> None:
        self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()
