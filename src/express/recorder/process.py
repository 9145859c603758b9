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
from express.recorder.heirs import Life, left_behind
from express.recorder.intake import Entry, Intake
from express.recorder.journal import Journal
from express.recorder.server import PrefectApi, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from express.recorder.server import Mark

WRITERS = 2
REST = 3.0  # times as long as a call to Prefect took
NICENESS = 15
FLUSH_SECONDS = 5.0
ACK_SECONDS = 0.1
HEIR_SECONDS = 20.0  # a recorder may outlive its gateway by 5 s, for its last words


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
                    self._recorder.acks.reaches(frame.owner, transport)
                    self._recorder.intake.greeted(frame.owner, set(frames.ids(frame.body)))
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
            self._recorder.acks.left(self._sink, cast("asyncio.Transport", self._transport))
            self._recorder.intake.lost(self._sink)


class Acks:
    """Tells each sink, ten times a second, of which of its runs the recorder is done with the end."""

    def __init__(self) -> None:
        self._sinks: dict[bytes, tuple[asyncio.Transport, list[bytes]]] = {}
        self._due = False

    def reaches(self, sink: bytes, transport: asyncio.Transport) -> None:
        """Note where a sink is told."""
        self._sinks[sink] = transport, []

    def left(self, sink: bytes, transport: asyncio.Transport) -> None:
        """Note that a sink hung up: it sends again what it was not told of."""
        told = self._sinks.get(sink)
        if told is not None and told[0] is transport:  # it may be back already
            del self._sinks[sink]

    def add(self, sink: bytes, run: bytes) -> None:
        """Have the sink told of this run soon; of a sink that is gone, nobody."""
        told = self._sinks.get(sink)
        if told is not None:
            told[1].append(run)
            if not self._due:
                self._due = True
                asyncio.get_running_loop().call_later(ACK_SECONDS, self.send)

    def send(self) -> None:
        """Tell all that waits."""
        self._due = False
        for sink, (transport, runs) in self._sinks.items():
            for at in range(0, len(runs), frames.IDS_LIMIT):
                body = b"".join(runs[at : at + frames.IDS_LIMIT])
                transport.write(frames.encode(frames.ACK, sink, body))
            runs.clear()


class Recorder:
    """Listens, writes, and stops when told: `serve` is its whole life.

    The journal of open runs is at `journal`; what other recorders left in its folder is taken over.
    """

    def __init__(
        self,
        socket_path: Path,
        api_url: str,
        *,
        environment: Mapping[str, str] = os.environ,
        mark: Mark | None = None,
        journal: Path | None = None,
        intake: Intake | None = None,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self.socket_path = socket_path
        self.intake = intake or Intake()
        self.api = PrefectApi(api_url, self.intake.counters, environment, mark=mark)
        journal = journal or socket_path.with_suffix(".open")
        self._life = Life(journal)
        self.journal = Journal(journal)
        self.acks = Acks()
        self.intake.done = self.acks.add
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
            tasks = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
            tasks.append(asyncio.create_task(self._inherit()))
            try:
                await self.stopping.wait()
                server.close()
                await self._flush()
            finally:
                self._hang_up()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._life.end()
                self.socket_path.unlink(missing_ok=True)

    async def _inherit(self) -> None:
        """Take over, now and later, the runs of recorders that are gone."""
        while True:
            for left in left_behind(self.journal.path):
                self.journal.take_over(left)
                self.intake.inherit(left.runs)
            await asyncio.sleep(HEIR_SECONDS)

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
        """Write entry by entry. In a flood, of which most is left out anyway, rest after each.

        Prefect's server takes a whole processor otherwise, also where those who answer need it.
        """
        clock = asyncio.get_running_loop().time
        while True:
            entry = await self.intake.next()
            began, left_out = clock(), self.intake.counters["sampled_out"]
            try:
                await self._record(entry)
            except Refused as refusal:
                self.intake.counters["refused"] += 1
                say(f"Prefect refused a run: {refusal}")
                self.journal.ended(entry.key)
                self.intake.settle(entry)
            if self.intake.counters["sampled_out"] > left_out:
                await asyncio.sleep((clock() - began) * REST)

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
        await self.api.end(orjson.loads(entry.end), entry.flow_run_id, entry.tags, again=entry.again)
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
