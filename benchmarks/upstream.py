"""The fake upstream: one process, canned bytes, as little work per request as Python allows.

`python -m benchmarks.upstream PORT`. It looks into a request's body only for `"stream":true` and the marks in
the model's name (see bodies.py); `GET /count` tells how many requests it has answered, so that a gateway that
answered from a cache, or asked twice, is found out. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import cast

import uvloop

from benchmarks.bodies import DRIP, IDLE
from benchmarks.canned import Wire, chat_wire, messages_wire

_CHAT = chat_wire()
_MESSAGES = messages_wire()
_IDLE_MARK = f'{IDLE}"'.encode()
_DRIP_MARK = f'{DRIP}"'.encode()
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: requests one after another, each framed by its Content-Length or its last chunk."""

    answered = 0

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.missing = 0  # bytes still to come; -1: the head is not whole, -2: chunked
        self.head = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.missing = -1

    def data_received(self, data: bytes) -> None:
        if self.missing == -1:
            data = self.take_head(data)
            if self.missing == -1:
                return
        self.parts.append(data)
        if self.missing >= 0:
            self.missing -= len(data)
            whole = self.missing <= 0
        else:
            whole = data.endswith(b"0\r\n\r\n") or b"".join(self.parts[-2:]).endswith(b"0\r\n\r\n")
        if whole:
            body = b"".join(self.parts)
            self.parts.clear()
            self.missing = -1
            self.answer(body)

    def take_head(self, data: bytes) -> bytes:
        """Set `missing` from the head; return what follows the head."""
        data = b"".join([*self.parts, data])
        self.parts.clear()
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self.parts.append(data)
            return b""
        self.head = data[:end]
        lowered = self.head.lower()
        at = lowered.find(b"\r\ncontent-length:")
        if at >= 0:
            self.missing = int(lowered[at + 17 :].split(b"\r\n", 1)[0])
        else:
            self.missing = -2 if b"\r\ntransfer-encoding:" in lowered else 0
        return data[end + 4 :]

    def answer(self, body: bytes) -> None:
        path = self.head.split(b" ", 2)[1]
        if path == b"/count":
            self.tell_count()
        elif b"/chat/completions" in path:
            self.answer_from(_CHAT, body)
        elif b"/messages" in path:
            self.answer_from(_MESSAGES, body)
        else:
            self.transport.write(_NOT_FOUND)

    def answer_from(self, wire: Wire, body: bytes) -> None:
        Upstream.answered += 1
        if b'"stream":true' not in body and b'"stream": true' not in body:
            self.transport.write(wire.plain)
        elif _IDLE_MARK in body:
            self.transport.write(wire.opening)
        elif _DRIP_MARK in body:
            self.drip(wire.pieces, 0)
        else:
            self.transport.write(wire.stream)

    def drip(self, pieces: tuple[bytes, ...], index: int) -> None:
        """Write one frame per turn of the loop, which is one `send` each."""
        if self.transport.is_closing():
            return
        self.transport.write(pieces[index])
        if index + 1 < len(pieces):
            asyncio.get_running_loop().call_soon(self.drip, pieces, index + 1)

    def tell_count(self) -> None:
        body = str(Upstream.answered).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=2048)
    async with server:
        await loop.run_in_executor(None, os.read, 0, 1)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
