"""The connections to upstreams: one aiohttp session, its time-outs, and its errors as ours."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from tasks.backend import Reply
from wire.errors import GatewayError, UpstreamFailed, UpstreamTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from yarl import URL

_READ_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first byte of a stream, between its bytes, for a whole answer."""

    connect: float = 10.0
    first_byte: float = 120.0
    idle: float = 120.0
    whole: float = 600.0


class HttpUpstream:
    """Sends POST requests upstream. Open it within the event loop; close it at the end."""

    def __init__(self, timeouts: Timeouts | None = None, *, connections: int = 0) -> None:
        self.timeouts = timeouts or Timeouts()
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        # A whole answer may be silent for as long as it is allowed to take.
        self._late = f"no whole answer within {self.timeouts.whole:g} s"
        self._untimed = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect, sock_read=None)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The one session of this process; made at first use, within the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.timeouts.connect, sock_read=self.timeouts.idle
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_SIZE,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str | URL, payload: bytes, headers: Mapping[str, str]) -> Reply:
        """Send and read the whole answer within `timeouts.whole`."""
        deadline = _Deadline(self.timeouts.whole)
        try:
            async with self.session.post(
                url, data=payload, headers=headers, allow_redirects=False, timeout=self._untimed
            ) as response:
                body = await response.read()
                return Reply(response.status, _lower(response.headers), body)
        except asyncio.CancelledError:
            if not deadline.passed():
                raise
            raise UpstreamTimeout(f"upstream: {self._late}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _told(error, self._late) from error
        finally:
            deadline.stop()

    async def open(self, url: str | URL, payload: bytes, headers: Mapping[str, str]) -> HttpStream:
        """Send and return once the status has come, within `timeouts.first_byte`."""
        first_byte = self.timeouts.first_byte
        with _upstream_errors(f"no first byte within {first_byte:g} s"):
            async with asyncio.timeout(first_byte):
                response = await self.session.post(url, data=payload, headers=headers, allow_redirects=False)
        return HttpStream(response, first_byte)

    async def get(self, url: str, headers: Mapping[str, str], seconds: float) -> Reply:
        """Fetch a small document within `seconds`."""
        with _upstream_errors(f"no answer within {seconds:g} s"):
            async with (
                asyncio.timeout(seconds),
                self.session.get(url, headers=headers, allow_redirects=False) as response,
            ):
                return Reply(response.status, _lower(response.headers), await response.read())


class HttpStream:
    """One open answer (`tasks.backend.Upstream`)."""

    def __init__(self, response: aiohttp.ClientResponse, first_byte: float) -> None:
        self._response = response
        self._first_byte = first_byte
        self.status = response.status
        self.headers = _lower(response.headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it comes. The first bytes must come in time, then `idle` holds."""
        read = self._response.content.readany
        with _upstream_errors("the stream fell silent"):
            async with asyncio.timeout(self._first_byte):
                chunk = await read()
            while chunk:
                yield chunk
                chunk = await read()

    async def read(self) -> bytes:
        """Give the whole body."""
        with _upstream_errors("the answer fell silent"):
            return await self._response.read()

    async def close(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        self._response.close()


class _Deadline:
    """`asyncio.timeout` for one call, without its two coroutines: they took a small request 4 % of its time.

    When the time is over it cancels the task it was made in; `passed`, asked for on that cancellation, says
    whether it was this and nobody else.
    """

    __slots__ = ("_before", "_fired", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - calls are awaited by tasks
        self._task = task
        self._before = task.cancelling()
        self._fired = False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._fire)

    def _fire(self) -> None:
        self._fired = True
        self._task.cancel()

    def passed(self) -> bool:
        """Say whether only the deadline cancelled the task; its own part in that is taken back."""
        return self._fired and self._task.uncancel() <= self._before

    def stop(self) -> None:
        """Cancel nobody any more."""
        self._timer.cancel()


@contextmanager
def _upstream_errors(silence: str) -> Iterator[None]:
    """Tell aiohttp's errors as ours."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
        raise _told(error, silence) from error


def _told(error: aiohttp.ClientError | OSError, silence: str) -> GatewayError:
    """Give aiohttp's error as ours. Lost connections may come back on another try.

    An answer that is late is not asked for again: the upstream may be at work on it, and is paid for it, and
    the client has waited the whole time already. Another backend may still be asked.
    """
    # aiohttp's own time-outs are TimeoutErrors too; which one it was is told by its class.
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamTimeout("upstream: no connection in time", retryable=True, unreached=True)
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"upstream: {silence}")
    if isinstance(error, aiohttp.ClientConnectorError):
        told = f"upstream: cannot connect to {error.host}:{error.port}"
        return UpstreamFailed(told, retryable=True, unreached=True)
    return UpstreamFailed(f"upstream: the connection broke ({type(error).__name__})", retryable=True)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
