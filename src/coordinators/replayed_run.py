"""What Prefect recorded of a replayed run: its id, and how long each of its steps took."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from httpx import HTTPStatusError, TransportError
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import TaskRun

_SECONDS = 60.0
_POLL = 0.25
_MOST = 200  # of task runs, which Prefect's server gives at once
_QUIET = 4  # looks in a row that find the same: then no more task runs are on their way


async def recorded(name: str, within: float = _SECONDS) -> tuple[UUID | None, list[tuple[str, float]]]:
    """Give the id of the flow run with this name, and its steps' names and milliseconds, in order.

    Task runs are recorded by events, which come in a moment later: this waits for them, at most so many
    seconds, also while the server is too busy to answer. What it did not tell by then is None, or missing.
    Raises HTTPStatusError if the server refuses to say.
    """
    await APILogHandler.aflush()
    await cast("Awaitable[Any]", EventsWorker.drain_all())
    look = _Look(name)
    until = time.monotonic() + within
    async with get_client() as client:
        while not look.done and time.monotonic() < until:
            try:
                await look.again(client)
            except HTTPStatusError as error:
                if error.response.status_code < 500:
                    raise
            except TransportError:  # the server is too busy, or is coming up again
                pass
            await asyncio.sleep(_POLL)
    return look.id, _steps(look.runs)


class _Look:
    """Looks at one flow run until it finds nothing new."""

    def __init__(self, name: str) -> None:
        self.id: UUID | None = None
        self.runs: Sequence[TaskRun] = ()
        self._same = 0
        self._wanted = FlowRunFilter(name=FlowRunFilterName(any_=[name]))

    @property
    def done(self) -> bool:
        return self._same >= _QUIET

    async def again(self, client: PrefectClient) -> None:
        if self.id is None:
            found = await client.read_flow_runs(
                flow_run_filter=self._wanted, sort=FlowRunSort.ID_DESC, limit=1
            )
            self.id = found[0].id if found else None
        runs = await client.read_task_runs(
            flow_run_filter=self._wanted, sort=TaskRunSort.EXPECTED_START_TIME_ASC, limit=_MOST
        )
        ended = bool(runs) and all(run.end_time is not None for run in runs)
        self._same = self._same + 1 if ended and len(runs) == len(self.runs) else 0
        self.runs = runs


def _steps(runs: Sequence[TaskRun]) -> list[tuple[str, float]]:
    """Name them as an express run does: Prefect's engine gives each a random suffix."""
    counts: dict[str, int] = {}
    steps = []
    for run in runs:
        kind = run.name.rpartition("-")[0]
        counts[kind] = number = counts.get(kind, -1) + 1
        took = run.end_time - run.start_time if run.end_time and run.start_time else run.total_run_time
        steps.append((f"{kind}-{number}", round(took.total_seconds() * 1000, 1)))
    return steps
