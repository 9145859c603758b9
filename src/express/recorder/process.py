"""The recorder's process: a Unix socket in front, a few writers behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import orjson

from express.recorder import frames
from express.recorder.intake import Entry, Intake
from express.recorder.journal import Journal
from express.recorder.server import PrefectApi, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WRITERS = 2
NICENESS = 15
FLUSH_SECONDS = 5.0


class Connection(asyncio.Protocol):
    """One sink, or somebody who asks for the counters."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._decoder = frames.FrameDecoder()
        self._sink: bytes | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._recorder.connections.add(self._transport)

    def data_received(self, data: bytes) -> None:
        transport = cast("asyncio.Transport", self._transport)
        try:
            for frame in self._decoder.feed(data):
                if frame.kind == frames.HELLO:
                    self._sink = frame.owner
                    body = frame.body
                    runs = {body[at : at + 16] for at in range(0, len(body), 16)}
                    self._recorder.intake.greeted(frame.owner, runs)
                elif frame.kind == frames.STATS:
                    counters = orjson.dumps(self._recorder.stats())
                    transport.write(frames.encode(frames.STATS, frame.owner, counters))
                elif frame.kind == frames.SKIPPED:
                    self._recorder.intake.skipped(int(frame.body))
                elif self._sink is not None:
                    self._recorder.intake.take(frame, self._sink)
        except frames.FrameError as error:
            say(f"a connection was closed: {error}")
            transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._recorder.connections.discard(cast("asyncio.Transport", self._transport))
        if self._sink is not None:
            self._recorder.intake.lost(self._sink)


class Recorder:
    """Listens, writes, and stops when told: `serve` is its whole life."""

    def __init__(
        self,
        socket_path: Path,
        api_url: str,
        *,
        environment: Mapping[str, str] = os.environ,
        intake: Intake | None = None,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self.socket_path = socket_path
        self.intake = intake or Intake()
        self.api = PrefectApi(api_url, self.intake.counters, environment)
        self.journal = Journal(socket_path.with_suffix(".open"))
        self.connections: set[asyncio.Transport] = set()
        self.stopping = asyncio.Event()
        self._flush_seconds = flush_seconds

    def stats(self) -> dict[str, Any]:
        """Give the counters, and how things are now."""
        return {
            **self.intake.counters,
            "open": len(self.intake.open),
            "waiting": self.intake.waiting,
            "prefect": "up" if self.api.reachable else "down",
            "trouble": self.api.trouble,
        }

    async def serve(self) -> None:
        """Record until `stopping` is set, then write what there still is, within bounds."""
        self.intake.inherit(self.journal.runs)
        self.socket_path.unlink(missing_ok=True)
        before = os.umask(0o177)  # the socket takes what runs hold: its owner's alone
        try:
            server = await asyncio.get_running_loop().create_unix_server(
                lambda: Connection(self), str(self.socket_path)
            )
        finally:
            os.umask(before)
        async with self.api:
            writers = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
            try:
                await self.stopping.wait()
                server.close()
                await self._flush()
            finally:
                self._hang_up()
                for task in writers:
                    task.cancel()
                await asyncio.gather(*writers, return_exceptions=True)
                self.socket_path.unlink(missing_ok=True)

    async def _flush(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._flush_seconds):
                await asyncio.sleep(0.1)  # what is in the sockets, and the gateway's last words
                self._hang_up()
                await asyncio.sleep(0)
                self.intake.expire()
                await self.intake.idle()

    def _hang_up(self) -> None:
        for transport in self.connections:
            transport.close()

    async def _write(self) -> None:
        while True:
            entry = await self.intake.next()
            try:
                await self._record(entry)
            except Refused as refusal:
                self.intake.counters["refused"] += 1
                say(f"Prefect refused a run: {refusal}")
                self.journal.ended(entry.key)
                self.intake.settle(entry)

    async def _record(self, entry: Entry) -> None:
        """Bring the server up to date with an entry."""
        if entry.flow_run_id is None:
            document = orjson.loads(entry.start or entry.end or b"")
            entry.flow_run_id = await self.api.create(document, entry.key.hex())
            entry.tags = document["tags"]
            self.journal.opened(entry.key, entry.sink, entry.flow_run_id)
            self.intake.counters["running"] += 1
        if entry.end is None:
            self.intake.release(entry)
            return
        await self.api.end(orjson.loads(entry.end), entry.flow_run_id, entry.tags)
        self.journal.ended(entry.key)
        self.intake.counters["recorded"] += 1
        self.intake.settle(entry)


def say(message: str) -> None:
    """Write a line for the recorder's log."""
    sys.stderr.write(f"recorder: {message}\n")
    sys.stderr.flush()


async def serve_until_told(recorder: Recorder, stdin: int = 0) -> None:
    """Serve until SIGTERM, SIGINT, or the end of standard input: the parent holds its other end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, recorder.stopping.set)

    def read() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            recorder.stopping.set()

    with suppress(PermissionError):  # a plain file or /dev/null, when started by hand
        loop.add_reader(stdin, read)
    await recorder.serve()
