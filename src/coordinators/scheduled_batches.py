"""Runs the batches that schedules say are due, in this process. Imports Prefect: seconds.

A run is made once: its batch has the run's id for its key. So a run whose process ended is run again by the
next, one that broke off in this process is by this one, and either goes on with the same batch.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Cancelled, Pending, Scheduled

from coordinators.batch_schedules import deployments, machine_of, runs_in
from coordinators.owners import is_dead, this_owner
from coordinators.schedule import due_runs
from flows.scheduled_batch import scheduled_batch
from tasks.patience import patiently
from tasks.scheduled_batch import Desk, ScheduleFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from coordinators.prefect_thread import PrefectThread
    from tasks.batch import BatchStore

_log = structlog.get_logger("headgate.batches")
_CALL = 30.0
_MOST = 20
_NAMELESS = timedelta(minutes=5)
_PARAMETERS = ("file", "output", "model")
_BEGUN = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
_PAUSE = 30.0
_LONGEST_PAUSE = 3600.0


class ScheduledBatches:
    """Takes due runs of every schedule that is this machine's, and runs each beside the others.

    `open_store` is called when there is the first schedule. `tenant` is the client whose batches they are,
    `hours` how long a batch may take, `look` the seconds between looks at a batch that is under way.
    """

    def __init__(
        self,
        thread: PrefectThread,
        open_store: Callable[[], Awaitable[BatchStore]],
        *,
        tenant: str,
        hours: float,
        look: float = 2.0,
    ) -> None:
        self._thread = thread
        self._open_store = open_store
        self._opened: BatchStore | None = None
        self._tenant = tenant
        self._hours = hours
        self._look = look
        self._running: dict[UUID, tuple[Desk, asyncio.Task[None]]] = {}
        self._pauses = Pauses()

    async def run_due(self) -> int:
        """Start what is due, and give how many that were; it returns while they run.

        To be called every so often. Raises what Prefect's client raises, TimeoutError, StoreFailed.
        """
        ours = await self._thread.call(_ours, within=_CALL)
        if not ours:
            return 0
        if self._opened is None:
            self._opened = await self._open_store()
        begun = await self._thread.call(lambda client: runs_in(client, ours, _BEGUN), within=_CALL)
        for run in begun:
            await self._see(run)
        due = await self._thread.call(lambda client: _due(client, ours), within=_CALL)
        started = 0
        for run in due[: max(0, _MOST - len(self._running))]:
            if run.id not in self._running:
                self._start(run)
                started += 1
        return started

    async def settled(self) -> None:
        """Wait until nothing is running."""
        await asyncio.gather(*(task for _, task in self._running.values()), return_exceptions=True)

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return bool(self._running)

    @property
    def _store(self) -> BatchStore:
        assert self._opened is not None  # noqa: S101 - nothing runs before it is open
        return self._opened

    def _start(self, run: FlowRun) -> None:
        desk = Desk(
            self._store, self._tenant, _key(run), run.expected_start_time or datetime.now(UTC),
            self._hours, asyncio.get_running_loop(), self._look,
        )  # fmt: skip
        task = asyncio.create_task(self._run(run, desk))
        self._running[run.id] = desk, task
        task.add_done_callback(lambda _: self._running.pop(run.id, None))

    async def _run(self, run: FlowRun, desk: Desk) -> None:
        try:
            if not await self._thread.call(lambda client: _claimed(client, run.id), within=_CALL):
                return
            _log.info("scheduled batch due", run=run.name)
            given = {name: run.parameters.get(name) for name in _PARAMETERS}
            await self._thread.run_flow(scheduled_batch, run, {**given, "desk": desk})
            _log.info("scheduled batch done", run=run.name, batch=desk.batch_id)
        except ScheduleFailed as error:
            _log.warning("scheduled batch failed", run=run.name, because=str(error)[:200])
        except Exception as error:  # noqa: BLE001 - Prefect's engine raises many; the others go on
            _log.warning("scheduled batch broke off", run=run.name, error=type(error).__name__)
            self._pauses.lengthen(run.id)
            return
        self._pauses.forget(run.id)
        with suppress(Exception):
            await self._settle(run, desk)

    async def _settle(self, run: FlowRun, desk: Desk) -> None:
        """Show a run whose batch was canceled as that."""
        made = desk.batch_id
        batch = await patiently(lambda: self._store.get(made)) if made else None
        if batch is not None and batch.cancel_initiated_at is not None:
            await self._force(run.id, Cancelled(message=f"the batch {batch.id} was canceled"))

    async def _see(self, run: FlowRun) -> None:
        """Cancel what was canceled in the UI; take over what nobody runs."""
        held = self._running.get(run.id)
        if held is None:
            await self._take_over(run)
        elif run.state_type == StateType.CANCELLING and held[0].batch_id is not None:
            await self._store.cancel(held[0].batch_id)

    async def _take_over(self, seen: FlowRun) -> None:
        """Have a run begun again whose process is gone, or that broke off in this one.

        One that was canceled in the UI is begun again too if it has a batch, which ends soon: it writes what
        there is, and is then shown as cancelled.
        """
        if not _left(seen):
            return
        run = await self._thread.call(lambda client: client.read_flow_run(seen.id), within=_CALL)
        if run.state_type not in _BEGUN or not _left(run):  # it ended, or was claimed, after it was seen
            return
        if run.state_type == StateType.CANCELLING and not await self._cancel_batch(run):
            await self._force(run.id, Cancelled(message="its process had ended"))
        elif self._pauses.over(run.id):
            _log.info("scheduled batch taken over", run=run.name)
            await self._force(run.id, Scheduled(message="it broke off, or its process ended; it goes on"))

    async def _cancel_batch(self, run: FlowRun) -> bool:
        """Cancel the batch of a run that is not under way; False if it has made none."""
        batch = await self._store.get_by_key(self._tenant, _key(run))
        return batch is not None and await self._store.cancel(batch.id) is not None

    async def _force(self, run_id: UUID, state: State[Any]) -> None:
        await self._thread.call(
            lambda client: client.set_flow_run_state(run_id, state, force=True), within=_CALL
        )


class Pauses:
    """How long runs that broke off wait until they are begun again: longer each time, an hour at most."""

    def __init__(self) -> None:
        self._pauses: dict[UUID, tuple[float, float]] = {}

    def lengthen(self, run_id: UUID) -> None:
        """Begin a pause, twice as long as the run's last one."""
        now = time.monotonic()
        for known, (until, _) in list(self._pauses.items()):
            if now > until + _LONGEST_PAUSE:  # that one was begun again long ago, or never will be
                self._pauses.pop(known)
        pause = min(2 * self._pauses[run_id][1], _LONGEST_PAUSE) if run_id in self._pauses else _PAUSE
        self._pauses[run_id] = now + pause, pause

    def over(self, run_id: UUID) -> bool:
        """Say whether a run may be begun again."""
        return time.monotonic() >= self._pauses.get(run_id, (0.0, 0.0))[0]

    def forget(self, run_id: UUID) -> None:
        """Have no pause for a run that ended."""
        self._pauses.pop(run_id, None)


async def _ours(client: PrefectClient) -> list[UUID]:
    """Give the schedules that this machine runs."""
    mine = {None, socket.gethostname()}
    return [one.id for one in await deployments(client) if machine_of(one) in mine]


async def _due(client: PrefectClient, ours: list[UUID]) -> list[FlowRun]:
    return await newest(client, await due_runs(client, ours))


async def newest(client: PrefectClient, due: list[FlowRun]) -> list[FlowRun]:
    """Give what is to be run. Of times of one schedule that have passed the last one stands for all.

    The others are cancelled. What somebody asked for by hand, or was begun already, is run in any case.
    """
    by_schedule: dict[Any, list[FlowRun]] = {}
    wanted: list[FlowRun] = []
    for run in due:
        if run.auto_scheduled and run.infrastructure_pid is None:
            by_schedule.setdefault(run.deployment_id, []).append(run)
        else:
            wanted.append(run)
    for runs in by_schedule.values():
        for late in runs[:-1]:
            await client.set_flow_run_state(late.id, Cancelled(message="a later run does it"), force=True)
        wanted.append(runs[-1])
    return wanted


async def _claimed(client: PrefectClient, run_id: UUID) -> bool:
    """Take a run for this process; the server lets one of several have it."""
    answer: Any = await client.set_flow_run_state(run_id, Pending())
    if answer.status != SetStateStatus.ACCEPT:
        return False
    await client.update_flow_run(run_id, infrastructure_pid=this_owner())
    return True


def _key(run: FlowRun) -> str:
    """Give the idempotency key of a run's batch."""
    return f"schedule-{run.id}"


def _left(run: FlowRun) -> bool:
    """Say whether nobody runs it, as this process has it not under way.

    Its process is this one, or is provably gone, or went before it could say who it was.
    """
    if run.infrastructure_pid is not None:
        return run.infrastructure_pid == this_owner() or is_dead(run.infrastructure_pid)
    return run.state is not None and datetime.now(UTC) - run.state.timestamp > _NAMELESS
