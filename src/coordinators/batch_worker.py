"""A worker of a Prefect work pool, for the chunks of batches: it runs their flows here, not in new processes.

Whatever Prefect says of a run, the chunk's lease in the store decides who executes it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Cancelled, Pending

from coordinators.batch_chunks import ChunkRun
from coordinators.batch_orphans import BATCH_TAGS
from coordinators.batch_watch import Watch
from coordinators.loops import await_on
from flows.message_batch import message_chunk, pool_deployment
from tasks.batch import StoreFailed
from tasks.batch_desk import BatchLeft, at_desk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from coordinators.batch_chunks import Kit
    from coordinators.prefect_thread import PrefectThread
    from tasks.batch import Batch

_log = structlog.get_logger("headgate.worker")
_LOOK = 1.0
_HEARTBEAT = 30.0
_CALL = 15.0
_POOL_TYPE = "headgate"


class ChunkDesk:
    """The desk of a batch whose chunks come one by one (`tasks.batch_desk.Desk`)."""

    pool = None

    def __init__(self, kit: Kit, batch: Batch) -> None:
        self.watch = Watch(batch)
        self.runs: set[UUID] = set()
        """The runs of the batch's chunks that are under way, or about to be."""
        self._kit = kit
        self._home = asyncio.get_running_loop()
        self.chunks: dict[int, asyncio.Task[Mapping[str, int]]] = {}

    def at_once(self, *, away: bool) -> int:
        """Refuse."""
        raise BatchLeft(f"a worker executes chunks only (away: {away})")

    async def answer_chunk(self, chunk: int) -> Mapping[str, int]:
        """Answer a chunk's requests; raises BatchLeft if the chunk is not done because this process ends."""
        return await await_on(self._home, self._answer(chunk))

    async def _answer(self, chunk: int) -> Mapping[str, int]:
        task = self.chunks.get(chunk)
        if task is None:
            task = self.chunks[chunk] = asyncio.create_task(ChunkRun(self._kit, self.watch, chunk).run())
            task.add_done_callback(lambda _: self.chunks.pop(chunk, None))
        counts = await asyncio.shield(task)
        if self.watch.stop == "leaving":
            raise BatchLeft("the worker ends; another goes on with the chunk")
        return counts

    async def open_chunks(self) -> Sequence[int]:
        """Refuse: a worker has chunks only."""
        raise BatchLeft("a worker executes chunks only")

    async def goes_on(self) -> bool:
        """Refuse."""
        raise BatchLeft("a worker executes chunks only")

    async def watch_chunk(self, chunk: int, flow_run: str) -> str:
        """Refuse."""
        raise BatchLeft(f"a worker executes chunks only ({chunk}, {flow_run})")

    async def close_batch(self) -> Mapping[str, int]:
        """Refuse."""
        raise BatchLeft("a worker executes chunks only")


class PoolWorker:
    """Takes up to `limit` chunks at a time from a pool, until it is told to end."""

    def __init__(self, kit: Kit, thread: PrefectThread, pool: str, *, limit: int) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._kit = kit
        self._thread = thread
        self._pool = pool
        self._limit = limit
        self._desks: dict[str, ChunkDesk] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._beaten: float | None = None

    async def work(self, ended: asyncio.Event) -> None:
        """Work until `ended`, then let the calls under way end. What fails is logged and tried again.

        The store is seen beside Prefect, whose silence keeps no batch from being paused or canceled.
        """
        await asyncio.gather(
            _again(self._find, ended, "no work found"), _again(self._see, ended, "batches not seen")
        )
        for desk in self._desks.values():
            desk.watch.end("leaving")
        if self._running:
            await asyncio.wait(self._running, timeout=self._kit.grace + 10)
        await self._kit.heart.close()

    async def _find(self) -> None:
        await self._beat()
        await self._take()

    async def _beat(self) -> None:
        """Register the pool and its deployment with the first heartbeat."""
        now = time.monotonic()
        if self._beaten is not None and now - self._beaten < _HEARTBEAT:
            return
        if self._beaten is None:
            await self._thread.call(lambda client: register_pool(client, self._pool), within=4 * _CALL)
            _log.info("worker ready", pool=self._pool, limit=self._limit, name=self.name)
        await self._thread.call(
            lambda client: client.send_worker_heartbeat(self._pool, self.name, _HEARTBEAT), within=_CALL
        )
        self._beaten = now

    async def _take(self) -> None:
        free = self._limit - len(self._running)
        if free <= 0:
            return
        due = await self._thread.call(
            lambda client: client.get_scheduled_flow_runs_for_work_pool(
                self._pool, scheduled_before=datetime.now(UTC)
            ),
            within=_CALL,
        )
        for response in due[:free]:
            run = response.flow_run
            if await self._claim(run):
                task = asyncio.create_task(self._execute(run))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _claim(self, run: FlowRun) -> bool:
        return await self._thread.call(lambda client: _claim(client, run), within=_CALL)

    async def _execute(self, run: FlowRun) -> None:
        batch_id, chunk = str(run.parameters.get("batch_id")), int(run.parameters.get("chunk", -1))
        try:
            batch = await self._kit.store.get(batch_id)
            if batch is None or batch.status == "ended":
                gone: State[Any] = Cancelled(message="the batch has ended or is gone")
                await self._thread.call(
                    lambda client: client.set_flow_run_state(run.id, gone, force=True), within=_CALL
                )
                return
            desk = self._desks.setdefault(batch_id, ChunkDesk(self._kit, batch))
            desk.runs.add(run.id)
            with at_desk(desk, batch_id, chunk):
                parameters = {"batch_id": batch_id, "chunk": chunk}
                await self._thread.run_flow(message_chunk, run, parameters)
            _log.info("chunk done", batch=batch_id, chunk=chunk)
        except Exception as error:  # noqa: BLE001 - the orchestrator sends the chunk again
            _log.warning("chunk not done", batch=batch_id, chunk=chunk, because=repr(error)[:200])
        finally:
            await self._finish(batch_id, chunk, run.id)

    async def _finish(self, batch_id: str, chunk: int, run_id: UUID) -> None:
        """See a chunk through that outlived its flow run; forget its batch with the last of its runs."""
        desk = self._desks.get(batch_id)
        if desk is None:
            return
        if (task := desk.chunks.get(chunk)) is not None:
            await asyncio.wait({task})
        desk.runs.discard(run_id)
        if not desk.runs:
            self._desks.pop(batch_id, None)

    async def _see(self) -> None:
        for batch_id, desk in list(self._desks.items()):
            with suppress(StoreFailed):
                batch = await self._kit.store.get(batch_id)
                if batch is None or batch.status == "ended":
                    desk.watch.end("lost")
                else:
                    desk.watch.see(batch)


async def _again(look: Callable[[], Awaitable[None]], ended: asyncio.Event, failed: str) -> None:
    """Look every second until `ended`; what goes wrong is logged."""
    while not ended.is_set():
        try:
            await look()
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many; the next look may do
            _log.warning(failed, error=type(error).__name__, because=str(error)[:200])
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await ended.wait()


async def _claim(client: PrefectClient, run: FlowRun) -> bool:
    """Say that the run is ours to execute; False if another worker was quicker."""
    try:
        answer: Any = await client.set_flow_run_state(run.id, Pending())
    except ObjectNotFound:
        return False
    return bool(answer.status == SetStateStatus.ACCEPT)


async def register_pool(client: PrefectClient, pool: str) -> None:
    """Make the work pool if it is not there, and the deployment of chunks in it."""
    try:
        await client.read_work_pool(pool)
    except ObjectNotFound:
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=pool, type=_POOL_TYPE))
    await client.create_deployment(  # or brings it up to date
        flow_id=await client.create_flow(message_chunk),
        name=pool_deployment(pool),
        work_pool_name=pool,
        description="A part of a batch of Messages requests, for `headgate worker`.",
        tags=list(BATCH_TAGS),
        enforce_parameter_schema=False,
    )
