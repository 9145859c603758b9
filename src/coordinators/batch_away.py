"""A batch's chunks that workers of a pool answer, as the process sees them that executes the batch.

The store has the truth of a chunk. Prefect is asked about a chunk's run only when nobody has the chunk.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from tasks.batch_desk import BatchLeft
from tasks.patience import patiently

if TYPE_CHECKING:
    from coordinators.batch_chunks import Kit
    from coordinators.batch_execution import Engine
    from coordinators.batch_watch import Watch
    from tasks.batch import ChunkState

_log = structlog.get_logger("headgate.batches")
_LOOK = 1.0
_RUNS_SECONDS = 5.0
"""How long what Prefect told of the runs in a work pool is good enough: each question costs its server."""

_STARTING_SECONDS = 15.0
"""How long a worker may take from claiming a run to leasing its chunk: Prefect's engine comes between."""

_SEEING_SECONDS = 2.0
"""How long a worker may go on taking chunks of a batch that stops: it looks at the store every second."""

_WRITING_SECONDS = 5.0
"""How long a worker may take, when its grace is over, to record what is done and to give the chunk back."""


class ChunksAway:
    """Looks after the chunks of one batch that were sent to a pool; all of them are looked at together."""

    def __init__(self, kit: Kit, watch: Watch, engine: Engine | None) -> None:
        self._kit = kit
        self._watch = watch
        self._engine = engine
        self._silent_since: float | None = None
        self._sent: set[str] = set()
        self._asking = asyncio.Lock()
        self._asked: frozenset[str] = frozenset()
        self._asked_at = 0.0
        self._states: dict[str, tuple[str, float]] = {}
        self._looking = asyncio.Lock()
        self._looked_at = 0.0
        self._seen: dict[int, ChunkState] = {}

    @property
    def silent_for(self) -> float:
        """For how many seconds Prefect has not told of the runs when it was asked."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def heard(self) -> None:
        """Take note that Prefect answers."""
        self._silent_since = None

    async def watch_chunk(self, chunk: int, flow_run: str) -> str:
        """Wait for a chunk (`tasks.batch_desk.Desk`)."""
        self._sent.add(flow_run)
        try:
            return await self._await_chunk(chunk, flow_run)
        finally:
            self._sent.discard(flow_run)

    async def let_workers_end(self, *, starting: bool) -> None:
        """Wait while workers have chunks of a batch that stops: they see that by themselves, and end calls.

        Who has one for longer than its calls may take will lose it. `starting` says that one may be about to
        be taken. Raises BatchLeft if the batch is lost meanwhile.
        """
        begun = time.monotonic()
        free_from = begun + (_SEEING_SECONDS if starting else 0.0)
        while (now := time.monotonic()) - begun < self._kit.grace + _WRITING_SECONDS:
            if self._watch.stop == "lost":
                raise BatchLeft("another process has the batch")
            states = await patiently(lambda: self._kit.store.chunks(self._watch.batch.id))
            if now >= free_from and not any(state.leased for state in states):
                return
            await asyncio.sleep(_LOOK)
        _log.warning("chunks are taken from who did not give them back", batch=self._watch.batch.id)

    async def _await_chunk(self, chunk: int, flow_run: str) -> str:
        free_since: float | None = None
        lost = False
        while True:
            state = await self._seen_since(time.monotonic() - (0.0 if lost else _LOOK), chunk)
            if state.done:
                return "done"
            if self._watch.stop is not None:
                return "stopped"  # closing the batch waits for the workers
            if lost and not state.leased:
                return "again"
            if state.leased or free_since is None:
                lost, free_since = False, None if state.leased else time.monotonic()
            elif lost := await self._run_is_lost(flow_run, time.monotonic() - free_since):
                continue  # it may have ended well since the store was asked
            await self._watch.stopped_within(_LOOK)

    async def _seen_since(self, moment: float, chunk: int) -> ChunkState:
        """Give a chunk as the store had it after this moment; all chunks are looked at together."""
        async with self._looking:
            if self._looked_at < moment:
                begun = time.monotonic()
                states = await patiently(lambda: self._kit.store.chunks(self._watch.batch.id))
                self._seen = {state.number: state for state in states}
                self._looked_at = begun
        return self._seen[chunk]

    async def _state_of(self, engine: Engine, flow_run: str) -> tuple[str | None, float]:
        """Give the type of a run's state, None if it is gone, and how many seconds old it is.

        All runs are asked for together, not often.
        """
        async with self._asking:
            if time.monotonic() - self._asked_at > _RUNS_SECONDS:
                asked = frozenset(self._sent)
                told = await engine.run_states(sorted(asked))
                self._asked, self._asked_at = asked, time.monotonic()
                self._states = {run: self._since(run, *state) for run, state in told.items()}
        if flow_run not in self._asked:
            return "SCHEDULED", 0.0
        state, since = self._states.get(flow_run, (None, 0.0))
        return state, time.monotonic() - since

    def _since(self, flow_run: str, state: str, age: float) -> tuple[str, float]:
        """Give since when a run has its state: as it is told, or as we saw it if the clocks disagree."""
        before, since = self._states.get(flow_run, (None, 0.0))
        return state, min(self._asked_at - age, since if before == state else self._asked_at)

    async def _run_is_lost(self, flow_run: str, free: float) -> bool:
        """Say whether nobody will execute a chunk that has been free for so many seconds under this run."""
        if self._engine is None or free < _LOOK:
            return False
        try:
            state, age = await self._state_of(self._engine, flow_run)
            patience = max(self._kit.heart.seconds, _STARTING_SECONDS)
            if state in {"PENDING", "RUNNING"} and free > self._kit.heart.seconds and age > patience:
                await self._engine.crash_run(flow_run, "its worker is gone; another goes on with the chunk")
                return True
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many
            self._silent_since = self._silent_since or time.monotonic()
            _log.warning("the run of a chunk is not known", because=repr(error)[:200])
            return False
        self.heard()
        return state not in {"PENDING", "RUNNING", "SCHEDULED", "PAUSED"}
