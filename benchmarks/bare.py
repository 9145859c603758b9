"""The least a Python reverse proxy can be: uvicorn, aiohttp behind it, bodies streamed through unread.

`python -m benchmarks.bare PORT UPSTREAM_URL`. What Headgate does above this is the price of its meaning.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

_HOP = {b"host", b"connection", b"transfer-encoding", b"keep-alive", b"te", b"upgrade", b"trailer"}


class Bare:
    """Send each request to `upstream` and its answer back."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            await self.relay(scope, receive, send)

    async def live(self, receive: Receive, send: Send) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/health" or self.session is None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name not in _HOP
        }
        request = self.session.request(
            scope["method"], self.upstream + scope["path"], headers=headers, data=_chunks(receive)
        )
        async with request as answer:
            head = [(name.lower(), value) for name, value in answer.raw_headers if name.lower() not in _HOP]
            await send({"type": "http.response.start", "status": answer.status, "headers": head})
            async for data in answer.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        if body := message.get("body"):
            yield body


if __name__ == "__main__":
    uvicorn.run(
        Bare(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        backlog=2048,
    )
