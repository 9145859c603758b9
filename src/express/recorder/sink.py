"""The gateway's side of the recorder: frames over a Unix socket, never waited for."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import orjson

from express.recorder import frames

if TYPE_CHECKING:
    from pathlib import Path

    from express.recorder.allowance import Allowance
    from express.runs import Run

FLUSH_SECONDS = 0.05
BUFFER_BYTES = 2_000_000
OPEN_RUNS = frames.IDS_LIMIT // 2  # their ids fit one hello frame, with those of `Unacknowledged`
RECONNECT_SECONDS = (0.05, 2.0)
SLOW_NANOSECONDS = 30 * 10**9


class SocketSink(asyncio.Protocol):
    """Sends runs to the recorder at `path`; connects by itself, again and again.

    What finds no room is dropped and counted. A run whose start was sent is always ended: by a
    bare frame if need be, and if that is lost too, the next hello no longer lists the run. Ends are kept
    until the recorder is done with them, and sent again after the next hello if it went away before.

    Of more runs than the `allowance` only those that failed, were slow or must be kept are sent, and the
    others are counted: a Prefect server takes a small part of them, and sending, reading and leaving out the
    rest costs half as much as answering.
    """

    def __init__(
        self, path: str | Path, *, buffer_bytes: int = BUFFER_BYTES, allowance: Allowance | None = None
    ) -> None:
        self.path = str(path)
        self.dropped = 0
        self.connected = False
        self._id = uuid4().bytes
        self._limit = buffer_bytes
        self._frames: list[bytes] = []
        self._size = 0
        self._open: set[bytes] = set()
        self._ends: list[tuple[bytes, bytes]] = []
        self._unacknowledged = Unacknowledged(buffer_bytes)
        self._decoder = frames.FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._flush_due = False
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False
        self._allowance = allowance
        self._withheld: set[int] = set()
        self._skipped = 0

    def begin(self, run: Run) -> bool:
        """Send the start of a run, if there is room for it; False if it is withheld."""
        if self._allowance is not None and not run.keep and not self._allowance.take():
            self._withheld.add(run.id.int)
            return False
        try:
            body = frames.start_body(run)
            if len(self._open) < OPEN_RUNS and self._put(frames.START, run.id.bytes, body, keep=run.keep):
                self._open.add(run.id.bytes)
        except Exception:  # noqa: BLE001 - a request never fails for its record
            self.dropped += 1
        return True

    def end(self, run: Run) -> None:
        """Send the end of a run, whole if it can be."""
        state = run.state or "failed"
        keep = run.keep or state == "failed" or run.end - run.start > SLOW_NANOSECONDS
        if run.id.int in self._withheld:
            self._withheld.discard(run.id.int)
            if not keep:
                self._skipped += 1
                self._plan_flush()
                return
        key = run.id.bytes
        try:
            if not self._put(frames.END, key, frames.end_body(run), keep=keep):
                self._put_bare_end(key, state)
        except Exception:  # noqa: BLE001 - as above; the start may have been sent
            self.dropped += 1
            self._put_bare_end(key, state)

    async def close(self, within: float = 1.0) -> None:
        """Send what is buffered, if somebody takes it in time, and hang up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._frames and (self.connected or self._connecting is not None):
                    self._flush()
                    await asyncio.sleep(FLUSH_SECONDS)
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who this is and which runs it has open, and send again what nobody has acknowledged."""
        self._transport = cast("asyncio.Transport", transport)
        self._paused, self.connected = False, True
        self._decoder = frames.FrameDecoder()
        waiting = self._unacknowledged
        runs = b"".join(self._open.union(waiting.frames))
        again = b"".join(map(frames.again, waiting.frames.values()))
        self._transport.write(frames.encode(frames.HELLO, self._id, runs) + again)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Forget the ends that the recorder is done with: it says nothing else here."""
        for frame in self._decoder.feed(data):
            self._unacknowledged.release(frames.ids(frame.body))

    def connection_lost(self, _: Exception | None) -> None:
        self._transport, self.connected = None, False
        self.dropped += self._unacknowledged.forget_lost()
        if not self._closed:
            self._connect()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def _put_bare_end(self, key: bytes, state: str) -> None:
        # small, and at most one for each open run, so the buffer's limit does not hold for it
        if key in self._open:
            self._append(frames.END, key, frames.encode(frames.END, key, frames.BARE_ENDS[state], keep=True))

    def _put(self, kind: int, key: bytes, body: bytes, *, keep: bool) -> bool:
        if self._size + len(body) > self._limit:
            self.dropped += 1
            return False
        self._append(kind, key, frames.encode(kind, key, body, keep=keep))
        return True

    def _append(self, kind: int, key: bytes, frame: bytes) -> None:
        self._frames.append(frame)
        if kind == frames.END:
            self._ends.append((key, frame))
        self._size += len(frame)
        self._plan_flush()

    def _plan_flush(self) -> None:
        if self._transport is None:
            self._connect()
        elif not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is None or self._paused or not (self._frames or self._skipped):
            return
        if self._skipped:
            self._frames.append(frames.encode(frames.SKIPPED, self._id, b"%d" % self._skipped))
            self._skipped = 0
        data = b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        for key, frame in self._ends:
            self._open.discard(key)
            self._unacknowledged.add(key, frame)
        self._ends.clear()
        self._transport.write(data)

    def _connect(self) -> None:
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._keep_connecting())

    async def _keep_connecting(self) -> None:
        shortest, longest = RECONNECT_SECONDS
        delay = shortest
        try:
            while True:
                with suppress(OSError):
                    await asyncio.get_running_loop().create_unix_connection(lambda: self, self.path)
                    return
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
                delay = min(delay * 2, longest)
        finally:
            self._connecting = None


class Unacknowledged:
    """The ends that a recorder was sent and has not done with, the oldest first, bounded in bytes and number.

    Those beyond the bound are let go of: they are lost only if the recorder dies before it is done with them.
    """

    def __init__(self, limit: int) -> None:
        self.frames: dict[bytes, bytes] = {}
        self._limit = limit
        self._size = 0
        self._let_go: set[bytes] = set()

    def add(self, key: bytes, frame: bytes) -> None:
        """Keep a frame that is being sent."""
        self.frames[key] = frame
        self._size += len(frame)
        while self._size > self._limit or len(self.frames) > OPEN_RUNS:
            oldest = next(iter(self.frames))
            self._size -= len(self.frames.pop(oldest))
            self._let_go.add(oldest)

    def release(self, keys: list[bytes]) -> None:
        """Forget what a recorder is done with."""
        for key in keys:
            self._size -= len(self.frames.pop(key, b""))
        self._let_go.difference_update(keys)

    def forget_lost(self) -> int:
        """Say how many were let go of and never acknowledged; the recorder is gone."""
        lost = len(self._let_go)
        self._let_go.clear()
        return lost


async def recorder_stats(path: str | Path, within: float = 2.0) -> dict[str, Any]:
    """Ask the recorder at `path` for its counters; OSError (TimeoutError too) if it does not answer."""
    async with asyncio.timeout(within):
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(frames.encode(frames.STATS, bytes(16), b""))
            decoder = frames.FrameDecoder()
            while data := await reader.read(65536):
                for frame in decoder.feed(data):
                    return cast("dict[str, Any]", orjson.loads(frame.body))
            raise ConnectionError(f"the recorder at {path} hung up")
        finally:
            writer.close()
