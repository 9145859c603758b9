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

from coordinators.batch_away import ChunksAway
from coordinators.batch_chunks import ChunkRun
from coordinators.batch_watch import Watch
from coordinators.loops import await_on
from express import Run
from flows.message_batch import message_batch
from tasks.batch import LeaseLost, StoreFailed
from tasks.batch_desk import BatchLeft, at_desk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordinators.batch_chunks import Kit
    from tasks.batch import Batch, Lease

_log = structlog.get_logger("headgate.batches")
_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_PREFECT_SECONDS = 60.0
"""How long nothing of a batch may be under way because of Prefect, before it goes on without."""

_SILENT_SECONDS = 60.0
"""How long the runs of chunks that went to a work pool may not be known before they are answered here."""

_LEAVING_SECONDS = 5.0
_POOL_PATIENCE = 60.0
"""How long a batch whose chunks go to a work pool waits for Prefect, which alone knows the workers."""

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
        self._away = ChunksAway(kit, self.watch, engine)
        self._lease = lease
        self._engine = engine
        self._tries = _PREFECT_TRIES if engine is not None else 0
        self._prefect_from = 0.0
        self._home = asyncio.get_running_loop()
        self._chunks: dict[int, asyncio.Task[Mapping[str, int]]] = {}
        self._closing = False
        self._busy = time.monotonic()

    @property
    def batch(self) -> Batch:
        """The batch as it was last seen."""
        return self.watch.batch

    def at_once(self, *, away: bool) -> int:
        """Give how many chunks are under way together: enough to have all places taken while one starts.

        `away` says that they go to a work pool, whose workers have limits of their own.
        """
        if away:
            return _MOST_CHUNKS_AWAY
        largest = max(1, -(-self.batch.items // max(1, self.batch.chunks)))
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
            if not ready.done() and self.pool is not None:
                await self._wait_for_pool(ready, engine.patience)
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

    async def _wait_for_pool(self, ready: asyncio.Task[None], waited: float) -> None:
        """Wait longer for Prefect, unless the batch stops: this process alone is slow beside a pool."""
        waited = max(waited, self._away.silent_for)
        stopping = asyncio.create_task(self.watch.stopped_within(max(0.0, _POOL_PATIENCE - waited)))
        await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _await_prefect(self, engine: Engine) -> None:
        await asyncio.sleep(max(0.0, self._prefect_from - time.monotonic()))
        await engine.ready()

    async def _run_directly(self) -> None:
        run = Run(message_batch.name, name=f"batch-{self.batch.id}")
        await run.call(message_batch, self.batch.id)

    async def _run_under(self, engine: Engine) -> None:
        self._tries -= 1
        self._away.heard()
        running = asyncio.create_task(engine.run_batch(self))
        try:
            self._busy = time.monotonic()
            while not running.done():
                await asyncio.wait({running}, timeout=_LOOK)
                now = time.monotonic()
                waits = self.watch.stop is None and (self.watch.paused or self.pool is not None)
                if self._chunks or self._closing or waits:
                    self._busy = now
                silent = self._away.silent_for > _SILENT_SECONDS
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
        return await await_on(self._home, self._away.watch_chunk(chunk, flow_run))

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

    async def _close_batch(self) -> Mapping[str, int]:
        if self._chunks:
            await asyncio.wait(set(self._chunks.values()))
        store, stop = self.kit.store, self.watch.stop
        if stop == "leaving" or stop == "lost":  # noqa: PLR1714 - so that its type is known below
            raise BatchLeft("the process that executes the batch ends; another goes on with it")
        self._closing = True
        try:
            if stop is not None:
                await self._away.let_workers_end(starting=self.pool is not None)
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
