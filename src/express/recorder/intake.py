"""What the recorder takes in, what it leaves out, and what waits to be written.

Prefect's server takes ten runs a second on a small machine; a gateway can bring thousands. So a
run is admitted while little waits and its kind's allowance lasts: all of them in quiet times, a few
a second, whichever come, in a flood. Runs that must be kept (failed, slow, batch) have an
allowance of their own and go first. An admitted run always gets its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import orjson

from express.recorder import frames
from express.recorder.allowance import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from express.recorder.journal import Opened

LEASE_SECONDS = 5.0
KEPT_BYTES = 32_000_000
COUNTERS = (
    "received", "recorded", "running", "sampled_out", "dropped", "crashed", "refused", "retries",
)  # fmt: skip


class Entry:
    """An admitted run. `start` and `end` are bodies still to be written, `tags` those the server has.

    `queued` is true while it waits or a writer has it: nobody else may take it then. `again` says that a
    recorder before this one may have told its end.
    """

    __slots__ = ("again", "end", "flow_run_id", "keep", "key", "queued", "sink", "start", "tags")

    def __init__(self, key: bytes, sink: bytes, *, keep: bool) -> None:
        self.key, self.sink, self.keep = key, sink, keep
        self.start: bytes | None = None
        self.end: bytes | None = None
        self.flow_run_id: str | None = None
        self.tags: list[str] | None = None
        self.queued = False
        self.again = False


class Intake:
    """Takes frames in by the thousand, gives entries out to the writers.

    `done` is told the sink and the run of every end that is written or never will be: nobody need keep it.
    """

    def __init__(self, *, waiting: int = 48, rate: float = 5.0, lease: float = LEASE_SECONDS) -> None:
        self.done: Callable[[bytes, bytes], object] = lambda _sink, _run: None
        self.open: dict[bytes, Entry] = {}
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self._waiting = waiting
        self._lease = lease
        self._allowances = {False: Allowance(waiting, rate), True: Allowance(waiting * 4, rate)}
        self._queues: tuple[deque[Entry], ...] = (deque(), deque(), deque())
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._bytes = 0
        self._busy = 0
        self._leases: dict[bytes, asyncio.TimerHandle] = {}

    @property
    def waiting(self) -> int:
        """Say how many entries have something to write, those with a writer included."""
        return sum(map(len, self._queues)) + self._busy

    def skipped(self, count: int) -> None:
        """Count runs that a sink left out by itself."""
        self.counters["sampled_out"] += count

    def take(self, frame: frames.Frame, sink: bytes) -> None:
        """Take in a start or an end; most of a flood ends here, unparsed."""
        self.counters["received"] += 1
        entry = self.open.get(frame.owner)
        if frame.kind == frames.START:
            if entry is None and self._admits(frame.keep):
                self._admit(frame, sink)
            return
        if entry is None:
            if frame.body in _BARE or not self._admits(frame.keep):
                self.counters["sampled_out"] += 1
                self.done(sink, frame.owner)
                return
            entry = self._admit(frame, sink)
            entry.again = frame.again
        elif entry.end is None:
            entry.again |= frame.again
            self._end(entry, frame.body if self._bytes < KEPT_BYTES else _bare(frame.body))

    def greeted(self, sink: bytes, runs: Collection[bytes]) -> None:
        """Note that a sink is there (again), with these runs open: the end of any other was lost."""
        lease = self._leases.pop(sink, None)
        if lease is not None:
            lease.cancel()
        for entry in self._open_of(sink):
            if entry.key not in runs:
                self._crash(entry)

    def lost(self, sink: bytes) -> None:
        """Note that a sink hung up: unless it comes back within the lease, its open runs crashed."""
        self.greeted(sink, {entry.key for entry in self._open_of(sink)})
        self._leases[sink] = asyncio.get_running_loop().call_later(self._lease, self.greeted, sink, ())

    def inherit(self, runs: dict[bytes, Opened]) -> None:
        """Take over what a recorder before this one left running."""
        for key, opened in runs.items():
            entry = Entry(key, opened.sink, keep=True)
            entry.flow_run_id = opened.flow_run_id
            entry.again = True
            self.open[key] = entry
        for sink in {opened.sink for opened in runs.values()}:
            self.lost(sink)

    def expire(self) -> None:
        """Let no lease run on: the process ends."""
        for sink in list(self._leases):
            self.greeted(sink, ())

    async def next(self) -> Entry:
        """Wait for an entry that has something to write; kept runs first, then starts, then ends.

        It is the caller's alone until it is given back by `release` or `settle`.
        """
        while True:
            for queue in self._queues:
                if queue:
                    self._busy += 1
                    return queue.popleft()
            self._arrived.clear()
            await self._arrived.wait()

    async def idle(self) -> None:
        """Wait until nothing waits to be written."""
        await self._idle.wait()

    def release(self, entry: Entry) -> None:
        """Take back an entry whose start is written; its end may have arrived meanwhile."""
        self._busy -= 1
        self._bytes -= len(entry.start or b"")
        entry.start = None
        entry.queued = False
        if entry.end is not None:
            self._queue(entry)
        self._rest()

    def settle(self, entry: Entry) -> None:
        """Let go of an entry that is written, or never will be."""
        self._busy -= 1
        self._bytes -= len(entry.start or b"") + len(entry.end or b"")
        self.open.pop(entry.key, None)
        self.done(entry.sink, entry.key)
        self._rest()

    def _rest(self) -> None:
        if not self.waiting:
            self._idle.set()

    def _admits(self, keep: bool) -> bool:
        room = self._bytes < KEPT_BYTES and (keep or self.waiting < self._waiting)
        if room and self._allowances[keep].take():
            return True
        if keep:
            self.counters["dropped"] += 1
        return False

    def _admit(self, frame: frames.Frame, sink: bytes) -> Entry:
        entry = self.open[frame.owner] = Entry(frame.owner, sink, keep=frame.keep)
        entry.start = frame.body if frame.kind == frames.START else None
        entry.end = frame.body if frame.kind == frames.END else None
        self._bytes += len(frame.body)
        self._queue(entry)
        return entry

    def _end(self, entry: Entry, body: bytes) -> None:
        entry.end = body
        self._bytes += len(body)
        self._queue(entry)

    def _queue(self, entry: Entry) -> None:
        if not entry.queued:
            entry.queued = True
            self._queues[0 if entry.keep else 1 if entry.flow_run_id is None else 2].append(entry)
            self._arrived.set()
            self._idle.clear()

    def _open_of(self, sink: bytes) -> list[Entry]:
        return [entry for entry in self.open.values() if entry.sink == sink and entry.end is None]

    def _crash(self, entry: Entry) -> None:
        self.counters["crashed"] += 1
        self._end(entry, frames.BARE_ENDS["crashed"])


_BARE = frozenset(frames.BARE_ENDS.values())


def _bare(body: bytes) -> bytes:
    """Keep only the state of an end for which there is no memory."""
    return frames.BARE_ENDS[orjson.loads(body)["state"]]
