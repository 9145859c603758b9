"""A flow on a schedule: the Prefect server says when, this process runs it. Imports Prefect: seconds.

The server keeps a deployment with an interval, so that the UI shows the schedule and every run. Nothing else
of Prefect's machinery is needed: no worker, no process for each run.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow_async
from prefect.states import Cancelled

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from express import Pipeline

_MOST_AHEAD = 3


async def due_runs(client: PrefectClient, deployments: list[UUID]) -> list[FlowRun]:
    """Give the runs of deployments whose time has come, in its order; raises what the client raises."""
    due = await client.get_scheduled_flow_runs_for_deployments(
        deployments, scheduled_before=datetime.now(UTC)
    )
    return sorted(due, key=lambda run: run.expected_start_time or datetime.min.replace(tzinfo=UTC))


class Schedule:
    """One flow's schedule, every so many seconds, under a name of its own on the server."""

    def __init__(self, flow: Pipeline[..., Any], name: str, seconds: float) -> None:
        self._flow = flow
        self._name = name
        self._seconds = seconds
        self._deployment: UUID | None = None

    async def run_due(self, *args: Any) -> bool:
        """Run the flow if the server says that it is time; raises what the client and the flow raise.

        Of several runs that are overdue the last one stands for all.
        """
        async with get_client() as client:
            due = await self._due(client)
            for late in due[:-1]:
                await client.set_flow_run_state(late.id, Cancelled(message="a later run does it"), force=True)
        if not due:
            return False
        names = self._flow.fn.__code__.co_varnames
        await run_flow_async(self._flow, flow_run=due[-1], parameters=dict(zip(names, args, strict=False)))
        return True

    async def _due(self, client: PrefectClient) -> list[FlowRun]:
        if self._deployment is None:
            self._deployment = await self._register(client)
        try:
            return await due_runs(client, [self._deployment])
        except ObjectNotFound:  # the server was replaced, or somebody deleted it
            self._deployment = None
            return []

    async def _register(self, client: PrefectClient) -> UUID:
        with suppress(ObjectNotFound):
            found = await client.read_deployment_by_name(f"{self._flow.name}/{self._name}")
            return found.id
        interval = IntervalSchedule(interval=timedelta(seconds=self._seconds))
        return await client.create_deployment(
            flow_id=await client.create_flow(self._flow),
            name=self._name,
            schedules=[DeploymentScheduleCreate(schedule=interval, max_scheduled_runs=_MOST_AHEAD)],
            description=self._flow.description,
            tags=["headgate", "scheduled"],
            enforce_parameter_schema=False,
        )
