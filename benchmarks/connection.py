"""One keep-alive HTTP/1.1 connection of the load: it asks again as soon as it has the whole answer.

It parses no more than it must: the head of each answer, where the answer ends, how many SSE frames went by.
That the answers say the right thing is checked before the load, by check.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(slots=True)
class Tally:
    """What happened between `since` and `until`."""

    since: float
    until: float
    requests: int = 0
    events: int = 0
    total: int = 0  # requests answered at all, warm-up and tail included
    errors: int = 0
    first_error: str = ""
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)

    def fail(self, why: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or why[:300]

    def count_answer(self, asked: float, now: float, first_byte: float) -> None:
        self.total += 1
        if self.since <= now <= self.until:
            self.requests += 1
        if self.since <= asked <= self.until:
            self.latencies.append(now - asked)
            self.first_bytes.append(first_byte - asked)

    def count_events(self, found: int, now: float) -> None:
        if self.since <= now <= self.until:
            self.events += found


class Connection(asyncio.Protocol):
    """Asks `request` until the tally's window is over; `done` is set when it has stopped."""

    def __init__(self, request: bytes, tally: Tally, *, stream: bool) -> None:
        self.request = request
        self.tally = tally
        self.stream = stream
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.asked = 0.0
        self.first_byte = 0.0
        self.head = b""
        self.in_body = False
        self.missing = 0  # bytes of the body still to come; -1: chunked
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.ask()

    def ask(self) -> None:
        self.asked = perf_counter()
        if self.asked > self.tally.until:
            self.stop()
            return
        self.head = b""
        self.in_body = False
        self.transport.write(self.request)

    def stop(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.tally.fail(f"connection lost: {exc!r}")
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self.in_body:
            data = self.take_head(data)
            if not self.in_body:
                return
        if self.stream:
            edge = self.tail[-1:] == b"\n" == data[:1]  # a frame's two newlines, cut between them
            self.tally.count_events(data.count(b"\n\n") + edge, perf_counter())
        if self.missing < 0:
            self.tail = data[-7:] if len(data) >= 7 else (self.tail + data)[-7:]
            whole = self.tail == _LAST_CHUNK or self.tail[2:] == data == _LAST_CHUNK[2:]
        else:
            self.missing -= len(data)
            whole = self.missing <= 0
        if whole:
            self.tally.count_answer(self.asked, perf_counter(), self.first_byte)
            self.ask()

    def take_head(self, data: bytes) -> bytes:
        """Read the answer's head; return what follows it. A status other than 200 ends this connection."""
        if not self.head:
            self.first_byte = perf_counter()
        self.head += data
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            return b""
        head, rest = self.head[:end].lower(), self.head[end + 4 :]
        if b" 200" not in head[:13]:
            self.tally.fail(self.head.decode(errors="replace"))
            self.stop()
            return b""
        at = head.find(b"\r\ncontent-length:")
        self.missing = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else -1
        self.tail = b"\r\n"  # so that an empty chunked body's `0` counts as the last chunk
        self.in_body = True
        return rest
