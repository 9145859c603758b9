"""Batches as Prefect shows them: the deployment, a flow run each, its state, its artifacts.

Here the two sides of a pause meet: what is paused in the UI is paused in the store, and the other way round.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Paused, Running

from coordinators.batch_artifacts import Artifacts
from coordinators.batch_orphans import BATCH_TAGS, OPEN, close_run, store_tag
from coordinators.batch_worker import register_pool
from flows.message_batch import BATCH_DEPLOYMENT, message_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from coordinators.batch_execution import Execution
    from coordinators.prefect_thread import PrefectThread
    from tasks.batch import Batch

_log = structlog.get_logger("headgate.batches")
_LOOK = 2.0
_CALL = 15.0
_LAST_CALL = 10.0
_PAGE = 200
_NEWEST = FlowRunSort.START_TIME_DESC


class BatchRuns:
    """Runs batches' flows under Prefect's engine (`coordinators.batch_execution.Engine`).

    `patience` is how many seconds a batch waits for a Prefect server before it begins without.
    """

    def __init__(self, thread: PrefectThread, *, patience: float = 5.0) -> None:
        self.thread = thread
        self.patience = patience
        self._deployment: UUID | None = None

    async def run_batch(self, execution: Execution) -> None:
        """Have `message_batch` run as a new run of the deployment; raises what Prefect and the flow raise."""
        batch = execution.batch
        tag = store_tag(await execution.kit.store.name())
        run = await self.thread.call(lambda client: self._begin(client, batch, tag), within=4 * _CALL)
        if execution.pool is not None:
            pool = execution.pool
            await self.thread.call(lambda client: register_pool(client, pool), within=4 * _CALL)
        await execution.kit.store.set_flow_run(batch.id, str(run.id))
        showing = asyncio.create_task(self._show(execution, run.id))
        try:
            await self.thread.run_flow(message_batch, run, {"batch_id": batch.id})
        finally:
            showing.cancel()
            await asyncio.wait({showing})
            if execution.counts is not None and execution.watch.stop in {"canceled", "expired"}:
                await self._conclude(run.id, execution)

    async def run_states(self, run_ids: Sequence[str]) -> dict[str, tuple[str, float]]:
        """Give the types of runs' states and their ages in seconds; raises what the client raises.

        The ages are of the server's time stamps by this machine's clock.
        """
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run_id) for run_id in run_ids]))
        runs = await self.thread.call(
            lambda client: client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, sort=_NEWEST),
            within=_CALL,
        )
        now = datetime.now(UTC)
        return {
            str(run.id): (run.state.type.value, (now - run.state.timestamp).total_seconds())
            for run in runs
            if run.state is not None
        }

    async def crash_run(self, run_id: str, why: str) -> None:
        """Close a run whose process is gone, and the runs within it."""

        async def close(client: PrefectClient) -> None:
            await close_run(client, await client.read_flow_run(UUID(run_id)), why)

        await self.thread.call(close, within=4 * _CALL)

    async def ready(self) -> None:
        """Wait until the Prefect server answers, however long it takes."""
        while True:
            if await self._answers():
                return
            await asyncio.sleep(_LOOK)

    async def _answers(self) -> bool:
        with suppress(TimeoutError):
            return await self.thread.call(lambda client: client.api_healthcheck(), within=_CALL) is None
        return False

    async def _begin(self, client: PrefectClient, batch: Batch, tag: str) -> FlowRun:
        deployment = self._deployment = self._deployment or await _register(client)
        name = f"batch-{batch.id}"
        before = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(like_=name)), limit=_PAGE, sort=_NEWEST
        )
        for run in before:
            if run.state is not None and run.state.type in OPEN:
                await close_run(client, run, "its process ended; the batch goes on in another run")
        try:
            return await client.create_flow_run_from_deployment(
                deployment,
                parameters={"batch_id": batch.id},
                name=f"{name}-{len(before) + 1}" if before else name,
                tags=["batch", tag],
            )
        except ObjectNotFound:  # the server was replaced, or somebody deleted it
            self._deployment = None
            raise

    async def _show(self, execution: Execution, run_id: UUID) -> None:
        """Keep the run's state and its artifacts as the batch is, and the batch as the run is told to be."""
        artifacts = Artifacts(self.thread, run_id, execution)
        paused = False
        try:
            while True:
                await asyncio.sleep(_LOOK)
                try:
                    run = await self.thread.call(lambda client: client.read_flow_run(run_id), within=_CALL)
                    paused = await self._agree(execution, run, paused=paused)
                    await artifacts.update()
                except Exception as error:  # noqa: BLE001 - Prefect's client raises many; the next look may do
                    _log.debug("run not shown", batch=execution.batch.id, because=repr(error)[:200])
        finally:
            with suppress(Exception):
                await artifacts.update(last=True)

    async def _agree(self, execution: Execution, run: FlowRun, *, paused: bool) -> bool:
        """Bring the run and the batch to the same state; `paused` is what they agreed on before."""
        store, batch, state = execution.kit.store, execution.batch, run.state
        if state is None:
            return paused
        if state.is_cancelling() or state.type == StateType.CANCELLED:
            if batch.status == "in_progress" and (canceled := await store.cancel(batch.id)) is not None:
                execution.watch.see(canceled)
            return paused
        if batch.status == "canceling":
            await self._force(run.id, Cancelling(message="canceled over the API"))
            return paused
        there = state.is_paused()
        if there != paused:
            if (told := await store.pause(batch.id, paused=there)) is not None:
                execution.watch.see(told)
            if not there and state.type != StateType.RUNNING:
                await self._force(run.id, Running(message="resumed"))
            return there
        if batch.paused != paused:
            if batch.paused:
                await self._force(run.id, _paused())
            else:
                await self._force(run.id, Running(message="resumed over the API"))
        return batch.paused

    async def _force(self, run_id: UUID, state: State[Any], within: float = _CALL) -> None:
        await self.thread.call(
            lambda client: client.set_flow_run_state(run_id, state, force=True), within=within
        )

    async def _conclude(self, run_id: UUID, execution: Execution) -> None:
        counts = execution.counts or {}
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        with suppress(Exception):
            await self._force(run_id, Cancelled(message=f"{execution.watch.stop}: {told}"), within=_LAST_CALL)


def _paused() -> State[Any]:
    state: State[Any] = Paused(reschedule=False, timeout_seconds=30 * 24 * 3600)
    return state.model_copy(update={"message": "paused over the API"})


async def _register(client: PrefectClient) -> UUID:
    with suppress(ObjectNotFound):
        found = await client.read_deployment_by_name(f"{message_batch.name}/{BATCH_DEPLOYMENT}")
        return found.id
    return await client.create_deployment(
        flow_id=await client.create_flow(message_batch),
        name=BATCH_DEPLOYMENT,
        description="A batch of Messages requests. Headgate makes a run for each, and executes it.",
        tags=list(BATCH_TAGS),
        enforce_parameter_schema=False,
    )
