"""One batch under way: the desk that its flows find, and who has them run.

The flows run under Prefect's engine where Prefect answers, in a thread of its own, and directly where it
does not. What they ask of the desk is done on this process's own event loop in either case, so that nothing
Prefect does, or fails to do, keeps a request or a heartbeat waiting.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

import structlog

from coordinators.batch_chunks import ChunkRun
from coordinators.batch_watch import Watch
from coordinators.loops import await_on
from express import Run
from flows.message_batch import message_batch
from tasks.batch import LeaseLost, StoreFailed
from tasks.batch_desk import BatchLeft, at_desk
from tasks.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordinators.batch_chunks import Kit
    from tasks.batch import Batch, ChunkState, Lease

_log = structlog.get_logger("headgate.batches")
_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_PREFECT_SECONDS = 60.0
"""How long nothing of a batch may be under way because of Prefect, before it goes on without."""

_SILENT_SECONDS = 60.0
"""How long the runs of chunks that went to a work pool may not be known before they are answered here."""

_RUNS_SECONDS = 5.0
"""How long what Prefect told of the runs in a work pool is good enough: each question costs its server."""

_STARTING_SECONDS = 15.0
"""How long a worker may take from claiming a run to leasing its chunk: Prefect's engine comes between."""

_LEAVING_SECONDS = 5.0
_PREFECT_TRIES = 3
_PREFECT_AGAIN = 30.0
_LOOK = 1.0
_MOST_CHUNKS = 8
_MOST_CHUNKS_AWAY = 32


class Engine(Protocol):
    """What has a batch's flow run: Prefect's engine."""

    patience: float
    """How many seconds a batch waits for it before it begins without."""

    async def ready(self) -> None:
        """Wait until the Prefect server answers, however long it takes."""
        ...

    async def run_batch(self, execution: Execution) -> None:
        """Have `message_batch` run, and show how the batch fares; raises whatever it raises."""
        ...

    async def run_states(self, run_ids: Sequence[str]) -> dict[str, tuple[str, float]]:
        """Give the types of runs' states, and for how many seconds they have had them; of those there are.

        Raises whatever it raises.
        """
        ...

    async def crash_run(self, run_id: str, why: str) -> None:
        """Close a run whose process is gone; raises whatever it raises."""
        ...


class Execution:
    """Executes one batch under its lease, until it has ended or stops (`tasks.batch_desk.Desk`).

    `engine` is Prefect's, or None. `pool` is the work pool that the chunks go to, or None.
    """

    def __init__(
        self, kit: Kit, batch: Batch, lease: Lease, engine: Engine | None, pool: str | None = None
    ) -> None:
        self.watch = Watch(batch)
        self.pool = pool
        self.kit = kit
        self.counts: Mapping[str, int] | None = None
        self._lease = lease
        self._engine = engine
        self._tries = _PREFECT_TRIES if engine is not None else 0
        self._prefect_from = 0.0
        self._silent_since: float | None = None
        self._home = asyncio.get_running_loop()
        self._chunks: dict[int, asyncio.Task[Mapping[str, int]]] = {}
        self._closing = False
        self._sent: set[str] = set()
        self._asking = asyncio.Lock()
        self._asked: frozenset[str] = frozenset()
        self._asked_at = 0.0
        self._states: dict[str, tuple[str, float]] = {}
        self._looking = asyncio.Lock()
        self._looked_at = 0.0
        self._seen: dict[int, ChunkState] = {}
        self._busy = time.monotonic()

    @property
    def batch(self) -> Batch:
        """The batch as it was last seen."""
        return self.watch.batch

    @property
    def at_once(self) -> int:
        """Give how many chunks are under way together: enough to have all places taken while one starts."""
        largest = max(1, -(-self.batch.items // max(1, self.batch.chunks)))
        if self.pool is not None:
            return _MOST_CHUNKS_AWAY
        return min(_MOST_CHUNKS, 2 + self.kit.at_once // largest)

    async def run(self) -> None:
        """Execute the batch; whatever fails is logged and tried again."""
        pause = _PAUSE
        with self.kit.heart.holding(self._lease, self._lose):
            while self.counts is None and self.watch.stop not in {"leaving", "lost"}:
                try:
                    with at_desk(self, self.batch.id):
                        await self._run_flow()
                except (BatchLeft, LeaseLost, StoreFailed) as error:
                    _log.warning("batch goes on later", batch=self.batch.id, because=str(error)[:200])
                except Exception:  # noqa: BLE001 - a fault of ours must not stop the batch for good
                    _log.exception("batch failed and is tried again", batch=self.batch.id)
                else:
                    pause = _PAUSE
                    continue
                if not await self.watch.stopped_within(pause):
                    pause = min(pause * 2, _LONGEST_PAUSE)
                elif self.watch.stop in {"canceled", "expired"}:
                    await asyncio.sleep(pause)
            await self._let_go()

    def _lose(self) -> None:
        if self.counts is None:
            self.watch.end("lost")

    async def _run_flow(self) -> None:
        """Run the flow under Prefect if it answers soon; else begin without, until it does."""
        engine = self._engine if self._tries > 0 else None
        if engine is None:
            await self._run_directly()
            return
        ready = asyncio.create_task(self._await_prefect(engine))
        try:
            await asyncio.wait({ready}, timeout=0.0 if self._prefect_from else engine.patience)
            if not ready.done():
                directly = asyncio.create_task(self._run_directly())
                await asyncio.wait({ready, directly}, return_when=asyncio.FIRST_COMPLETED)
                if directly.done():
                    await directly
                    return
                directly.cancel()  # its chunks go on, and the run under Prefect finds them under way
                await asyncio.wait({directly})
        finally:
            ready.cancel()
        await self._run_under(engine)

    async def _await_prefect(self, engine: Engine) -> None:
        await asyncio.sleep(max(0.0, self._prefect_from - time.monotonic()))
        await engine.ready()

    async def _run_directly(self) -> None:
        run = Run(message_batch.name, name=f"batch-{self.batch.id}")
        await run.call(message_batch, self.batch.id)

    async def _run_under(self, engine: Engine) -> None:
        self._tries -= 1
        running = asyncio.create_task(engine.run_batch(self))
        try:
            self._busy = time.monotonic()
            while not running.done():
                await asyncio.wait({running}, timeout=_LOOK)
                now = time.monotonic()
                waits = self.watch.stop is None and (self.watch.paused or self.pool is not None)
                if self._chunks or self._closing or waits:
                    self._busy = now
                silent = self._silent_since is not None and now - self._silent_since > _SILENT_SECONDS
                patience = _LEAVING_SECONDS if self.watch.stop in {"leaving", "lost"} else _PREFECT_SECONDS
                if silent or now - self._busy > patience:
                    _log.warning("Prefect does not get on with the batch", batch=self.batch.id)
                    return
            await running
        except BatchLeft:
            raise
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many; the batch goes on without
            _log.warning(
                "batch goes on without its run in Prefect",
                batch=self.batch.id,
                error=type(error).__name__,
                because=str(error)[:200],
            )
        finally:
            self._prefect_from = time.monotonic() + _PREFECT_AGAIN
            running.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await asyncio.wait({running}, timeout=_LOOK)

    async def _let_go(self) -> None:
        """End what is left under way, and give the batch back if it has not ended."""
        if self.counts is None and self.watch.stop is None:
            self.watch.end("leaving")
        if self._chunks:
            await asyncio.wait(set(self._chunks.values()), timeout=self.kit.grace + 5)
        for task in list(self._chunks.values()):
            task.cancel()
        if self.counts is None and self.watch.stop != "lost":
            with suppress(StoreFailed):
                await self.kit.store.release(self._lease)

    # -- the desk

    async def open_chunks(self) -> Sequence[int]:
        """Give the chunks that are not done."""
        return await await_on(self._home, self._open_chunks())

    async def goes_on(self) -> bool:
        """Wait while the batch is paused; False once no more requests of it are to be answered."""
        return await await_on(self._home, self.watch.goes_on())

    async def answer_chunk(self, chunk: int) -> Mapping[str, int]:
        """Answer a chunk's requests; whoever asks for a chunk that is under way waits for that."""
        return await await_on(self._home, self._answer_chunk(chunk))

    async def watch_chunk(self, chunk: int, flow_run: str) -> str:
        """Wait for a chunk that a worker answers."""
        return await await_on(self._home, self._watch_chunk(chunk, flow_run))

    async def close_batch(self) -> Mapping[str, int]:
        """Give what is left its outcome, and end the batch."""
        return await await_on(self._home, self._close_batch())

    async def _open_chunks(self) -> Sequence[int]:
        return [state.number for state in await self.kit.store.chunks(self.batch.id) if not state.done]

    async def _answer_chunk(self, chunk: int) -> Mapping[str, int]:
        task = self._chunks.get(chunk)
        if task is None:
            task = asyncio.create_task(ChunkRun(self.kit, self.watch, chunk).run())
            self._chunks[chunk] = task
            task.add_done_callback(lambda _: self._chunks.pop(chunk, None))
        counts = await asyncio.shield(task)
        self._busy = time.monotonic()
        return counts

    async def _watch_chunk(self, chunk: int, flow_run: str) -> str:
        """Look at the store, which has the truth, and at the run when nobody has the chunk."""
        self._sent.add(flow_run)
        try:
            return await self._await_chunk(chunk, flow_run)
        finally:
            self._sent.discard(flow_run)

    async def _await_chunk(self, chunk: int, flow_run: str) -> str:
        free_since: float | None = None
        lost = False
        while True:
            state = await self._seen_since(time.monotonic() - (0.0 if lost else _LOOK), chunk)
            if state.done:
                return "done"
            if self.watch.stop is not None:
                return "stopped"
            if lost and not state.leased:
                return "again"
            if state.leased or free_since is None:
                lost, free_since = False, None if state.leased else time.monotonic()
            elif lost := await self._run_is_lost(flow_run, time.monotonic() - free_since):
                continue  # it may have ended well since the store was asked
            await self.watch.stopped_within(_LOOK)

    async def _seen_since(self, moment: float, chunk: int) -> ChunkState:
        """Give a chunk as the store had it after this moment; all chunks are looked at together."""
        async with self._looking:
            if self._looked_at < moment:
                begun = time.monotonic()
                states = await patiently(lambda: self.kit.store.chunks(self.batch.id))
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
            patience = max(self.kit.heart.seconds, _STARTING_SECONDS)
            if state in {"PENDING", "RUNNING"} and free > self.kit.heart.seconds and age > patience:
                await self._engine.crash_run(flow_run, "its worker is gone; another goes on with the chunk")
                return True
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many
            self._silent_since = self._silent_since or time.monotonic()
            _log.warning("the run of a chunk is not known", because=repr(error)[:200])
            return False
        self._silent_since = None
        return state not in {"PENDING", "RUNNING", "SCHEDULED", "PAUSED"}

    async def _close_batch(self) -> Mapping[str, int]:
        if self._chunks:
            await asyncio.wait(set(self._chunks.values()))
        store, stop = self.kit.store, self.watch.stop
        if stop == "leaving" or stop == "lost":  # noqa: PLR1714 - so that its type is known below
            raise BatchLeft("the process that executes the batch ends; another goes on with it")
        self._closing = True
        try:
            if stop is not None:
                await store.close_out(self._lease, stop)
            ended = await store.end(self._lease)
        finally:
            self._closing = False
        if ended is None:
            raise BatchLeft("some requests have no result yet")
        self.kit.heart.forget(self._lease)
        self.watch.see(ended)
        self.counts = asdict(ended.counts)
        _log.info("batch ended", batch=ended.id, **self.counts)
        return self.counts
