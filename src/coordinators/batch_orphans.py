"""Runs of batches in Prefect that nobody will conclude: their process was killed, and their batch has ended.

Imports Prefect. It is for the process that has Prefect loaded while there is no batch (`headgate.orphans`).
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Crashed

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from coordinators.batch_store import SqlBatchStore
    from tasks.batch import Batch

BATCH_TAGS = ("headgate", "batch")
"""What all runs of batches are tagged with, those of their chunks in a work pool too."""

OPEN = (
    StateType.PENDING, StateType.RUNNING, StateType.SCHEDULED, StateType.PAUSED, StateType.CANCELLING,
)  # fmt: skip
_CONCLUDING_SECONDS = 120.0
"""How long who ended a batch may take to conclude its runs: after a silent minute Prefect is given up."""

_LONGEST = 60.0
_PAGE = 200
_WHY = "its process was gone before it could conclude it; its batch has ended or is deleted"


def store_tag(name: str) -> str:
    """Give the tag of the runs whose batches are in the store of this name."""
    return f"store:{name}"


class Swept(NamedTuple):
    """How many runs were closed, and in how many seconds others are to be, if they are still open then."""

    closed: int
    again: float | None


class Orphans:
    """Closes the runs of one store's batches that are open although their batch has ended or is gone.

    Runs of other stores on the same Prefect server are left alone. `store_of` gives the store, which is
    opened only if there are open runs, or None if there is none. `after` is how many seconds a run is left to
    whoever may be about to conclude it.
    """

    def __init__(
        self, store_of: Callable[[], SqlBatchStore | None], *, after: float = _CONCLUDING_SECONDS
    ) -> None:
        self._store_of = store_of
        self._after = after
        self._gone_since: dict[UUID, float] = {}

    async def close(self) -> Swept:
        """Close what is to be closed; raises what Prefect's client raises, TimeoutError, StoreFailed."""
        async with asyncio.timeout(_LONGEST), get_client() as client:
            runs = await _open_runs(client)
            store = self._store_of() if runs else None
            if store is None:
                return Swept(0, None)
            async with store:
                over = await self._over(store, runs)
            return await self._close(client, over)

    async def _over(self, store: SqlBatchStore, runs: list[FlowRun]) -> list[tuple[FlowRun, float]]:
        """Give the store's own runs whose batch is over, and for how many seconds it has been."""
        tag = store_tag(await store.name())
        ours = [run for run in runs if tag in run.tags]
        ids = {str(run.parameters.get("batch_id")) for run in ours}
        batches = {batch_id: await store.get(batch_id) for batch_id in ids}
        self._gone_since = {run.id: self._gone_since.get(run.id, time.monotonic()) for run in ours}
        seconds = [(run, self._seconds(run, batches[str(run.parameters.get("batch_id"))])) for run in ours]
        return [(run, over) for run, over in seconds if over is not None]

    def _seconds(self, run: FlowRun, batch: Batch | None) -> float | None:
        """Say for how long a run's batch has been over; a deleted one since its run was first seen."""
        if batch is None:
            return time.monotonic() - self._gone_since[run.id]
        return None if batch.ended_at is None else (datetime.now(UTC) - batch.ended_at).total_seconds()

    async def _close(self, client: PrefectClient, over: list[tuple[FlowRun, float]]) -> Swept:
        closed: set[UUID] = set()
        for run, seconds in over:
            if seconds >= self._after and run.id not in closed:
                closed |= await close_run(client, run, _WHY)
        waiting = [self._after - seconds for _, seconds in over if seconds < self._after]
        return Swept(len(closed), min(waiting, default=None))


async def close_run(client: PrefectClient, run: FlowRun, why: str) -> set[UUID]:
    """Close a run whose process is gone, and the open runs within it; gives all that were closed."""
    within = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]), state=_in_states())
    children = await client.read_flow_runs(
        flow_run_filter=within, limit=_PAGE, sort=FlowRunSort.START_TIME_DESC
    )
    for one in (*children, run):
        begun = one.state_type != StateType.SCHEDULED
        state: State[Any] = Crashed(message=why) if begun else Cancelled(message=why)
        await client.set_flow_run_state(one.id, state, force=True)
    return {one.id for one in (*children, run)}


def _in_states() -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(OPEN)))


async def _open_runs(client: PrefectClient) -> list[FlowRun]:
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=list(BATCH_TAGS)), state=_in_states())
    runs: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=wanted, limit=_PAGE, offset=len(runs), sort=FlowRunSort.ID_DESC
        )
        runs.extend(page)
        if len(page) < _PAGE:
            return runs
