"""Schedules of batches: deployments on the Prefect server, to be seen and edited in its UI. Imports Prefect.

A deployment says what (a file, an output folder, a model: its parameters) and when (its schedules). One that
was made for a server that several machines share has a tag that names its machine: its file is there.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import DeploymentSort, FlowRunSort
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from flows.scheduled_batch import scheduled_batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

FLOW = scheduled_batch.name
MACHINE = "machine:"
_PAGE = 200
_MOST_AHEAD = 3

_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "title": "Parameters",
    "required": ["file", "output"],
    "properties": {
        "file": {
            "type": "string",
            "title": "File",
            "description": "The requests, on the machine of the gateway; an absolute path.",
            "position": 0,
        },
        "output": {
            "type": "string",
            "title": "Output folder",
            "description": "Every run makes a folder in it, named by the time.",
            "position": 1,
        },
        "model": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "default": None,
            "title": "Model",
            "description": "Takes the place of every request's own.",
            "position": 2,
        },
    },
}


class ScheduleRefused(Exception):
    """A schedule cannot be made, or there is none; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule to be made. `cron` is in the time of `timezone`; paths are absolute."""

    name: str
    file: str
    output: str
    model: str | None
    cron: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule as the server has it; `next` is when it runs next, if the server knows already."""

    id: str
    name: str
    file: str
    output: str
    model: str | None
    when: str
    paused: bool
    machine: str | None
    next: datetime | None
    last: str | None


def checked(wanted: Wanted) -> CronSchedule:
    """Give the schedule's times; raises ScheduleRefused if they are no cron, or of no known time zone."""
    try:
        return CronSchedule(cron=wanted.cron, timezone=wanted.timezone)
    except ValidationError as error:
        part = "timezone" if "timezone" in {str(one["loc"][0]) for one in error.errors()} else "cron"
        hint = "Europe/Berlin, UTC, …" if part == "timezone" else 'minute hour day month weekday: "0 2 * * *"'
        told = wanted.timezone if part == "timezone" else wanted.cron
        raise ScheduleRefused(f"--{part} {told!r} is none: give {hint}") from None


async def create(client: PrefectClient, wanted: Wanted, *, shared: bool) -> bool:
    """Make a schedule, or change the one of this name and file; gives whether it is new.

    `shared` says that other machines have the same server. Raises ScheduleRefused.
    """
    times = checked(wanted)
    there = await _named(client, wanted.name)
    if there is not None and there.parameters.get("file") != wanted.file:
        raise ScheduleRefused(
            f"{wanted.name} is the schedule of {there.parameters.get('file')}: give another --name"
        )
    machine = [f"{MACHINE}{socket.gethostname()}"] if shared else []
    if there is not None:
        for schedule in there.schedules:
            if schedule.id is not None:
                await client.delete_deployment_schedule(there.id, schedule.id)
    await client.create_deployment(
        flow_id=await client.create_flow(scheduled_batch),
        name=wanted.name,
        schedules=[DeploymentScheduleCreate(schedule=times, max_scheduled_runs=_MOST_AHEAD)],
        parameters={"file": wanted.file, "output": wanted.output, "model": wanted.model},
        parameter_openapi_schema=_PARAMETERS,
        enforce_parameter_schema=True,
        description="Makes a batch of the file, waits for it, and writes the results into the output folder.",
        tags=["headgate", "batch", *machine],
        paused=False,
    )
    return there is None


async def schedules(client: PrefectClient) -> list[Scheduled]:
    """Give every schedule, by name."""
    found = [await _scheduled(client, one) for one in await deployments(client)]
    return sorted(found, key=lambda one: one.name)


async def remove(client: PrefectClient, name: str) -> None:
    """Delete a schedule, and its runs that are not due yet; raises ScheduleRefused if there is none."""
    there = await _named(client, name)
    if there is None:
        raise ScheduleRefused(f"there is no schedule {name}: see `headgate batch schedules`")
    await client.delete_deployment(there.id)


async def deployments(client: PrefectClient) -> list[DeploymentResponse]:
    """Give the deployments that are schedules of batches."""
    found: list[DeploymentResponse] = []
    while True:
        page = await client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
            sort=DeploymentSort.NAME_ASC,
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found


async def runs_in(
    client: PrefectClient, schedules_of: list[UUID], types: Sequence[StateType]
) -> list[FlowRun]:
    """Give runs of schedules that are in one of these states, 200 at most."""
    return await client.read_flow_runs(
        flow_run_filter=_in_state(*types),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=schedules_of)),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=_PAGE,
    )


def machine_of(deployment: DeploymentResponse) -> str | None:
    """Give the machine whose schedule it is; None if it is anybody's."""
    tags = (tag.removeprefix(MACHINE) for tag in deployment.tags if tag.startswith(MACHINE))
    return next(tags, None)


async def _named(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(f"{FLOW}/{name}")
    except ObjectNotFound:
        return None


async def _scheduled(client: PrefectClient, one: DeploymentResponse) -> Scheduled:
    coming = await client.read_flow_runs(
        flow_run_filter=_in_state(StateType.SCHEDULED), deployment_filter=_only(one.id),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=1,
    )  # fmt: skip
    done = await client.read_flow_runs(
        flow_run_filter=_in_state(*(set(StateType) - {StateType.SCHEDULED})), deployment_filter=_only(one.id),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1,
    )  # fmt: skip
    times = [_said(schedule.schedule) + ("" if schedule.active else " (off)") for schedule in one.schedules]
    told = one.parameters
    return Scheduled(
        id=str(one.id), name=one.name, file=str(told.get("file")), output=str(told.get("output")),
        model=told.get("model"), when="; ".join(times) or "never", paused=bool(one.paused),
        machine=machine_of(one), next=coming[0].expected_start_time if coming else None,
        last=done[0].state_name if done else None,
    )  # fmt: skip


def _in_state(*types: StateType) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))


def _only(deployment: UUID) -> DeploymentFilter:
    return DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))


def _said(schedule: Any) -> str:
    """Say when; schedules that were made in the UI may be of other kinds."""
    if isinstance(schedule, CronSchedule):
        return f"{schedule.cron} ({schedule.timezone or 'UTC'})"
    return str(getattr(schedule, "interval", None) or getattr(schedule, "rrule", schedule))
