"""What a batch's flow run shows beside its state: how far it is, and what failed.

Never what was asked, and no error's message either: upstreams quote prompts in theirs.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import orjson
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from coordinators.batch_execution import Execution
    from coordinators.prefect_thread import PrefectThread
    from tasks.batch import Batch, ItemResult

_CALL = 15.0
_FAILURES_SECONDS = 10.0
_MOST_FAILURES = 50


class Artifacts:
    """A run's two artifacts, made once and then changed in place."""

    def __init__(self, thread: PrefectThread, run_id: UUID, execution: Execution) -> None:
        self._thread = thread
        self._run_id = run_id
        self._execution = execution
        self._began = time.monotonic(), _done(execution.batch)
        self._ids: dict[str, UUID] = {}
        self._told: dict[str, Any] = {}
        self._failures_at = 0.0

    async def update(self, *, last: bool = False) -> None:
        """Show how far the batch is now; raises what Prefect's client raises."""
        batch = self._execution.batch
        began, done = self._began
        seconds = max(0.001, time.monotonic() - began)
        percent = 100.0 * _done(batch) / max(1, batch.items)
        rate = (_done(batch) - done) / seconds
        await self._put("progress", round(percent, 1), describe(batch, rate))
        if batch.counts.errored and (last or time.monotonic() - self._failures_at > _FAILURES_SECONDS):
            self._failures_at = time.monotonic()
            failed = await self._execution.kit.store.failures(batch.id, limit=_MOST_FAILURES)
            text = f"{batch.counts.errored:,} request{'s' * (batch.counts.errored != 1)} failed" + (
                f"; {len(failed)} of them are shown" if batch.counts.errored > len(failed) else ""
            )
            await self._put("table", orjson.dumps(failure_rows(failed)).decode(), text)

    async def _put(self, kind: str, data: Any, description: str) -> None:
        if self._told.get(kind) == (data, description):
            return
        if (artifact := self._ids.get(kind)) is None:
            name = "progress" if kind == "progress" else "failures"
            new = ArtifactCreate(
                key=f"{name}-{slug(self._execution.batch.id)}",
                type=kind,
                data=data,
                description=description,
                flow_run_id=self._run_id,
            )
            made = await self._thread.call(lambda client: client.create_artifact(new), within=_CALL)
            self._ids[kind] = made.id
        else:
            change = ArtifactUpdate(data=data, description=description)
            await self._thread.call(lambda client: client.update_artifact(artifact, change), within=_CALL)
        self._told[kind] = data, description


def describe(batch: Batch, rate: float) -> str:
    """Say in one line how far a batch is; `rate` is in requests a second."""
    counts = batch.counts
    told = [f"{_done(batch):,} of {batch.items:,} requests done"]
    told += [
        f"{count:,} {name}"
        for name, count in (
            ("failed", counts.errored),
            ("canceled", counts.canceled),
            ("expired", counts.expired),
        )
        if count
    ]
    told.append(f"{rate:,.1f} a second")
    told.append(f"{batch.input_tokens:,} input and {batch.output_tokens:,} output tokens")
    if batch.cost:
        told.append(f"${batch.cost:,.4f}")
    if counts.processing and rate > 0 and not batch.paused:
        told.append(f"about {_duration(counts.processing / rate)} to go")
    return "; ".join(told) + (" (paused)" if batch.paused else "")


def failure_rows(failed: Sequence[ItemResult]) -> list[dict[str, Any]]:
    """Give a table of failed requests: which, what kind of error, after how many attempts, its hash."""
    return [
        {
            "custom_id": result.custom_id,
            "error": result.error_type,
            "attempts": result.attempts,
            "hash": result.error_hash,
        }
        for result in failed
    ]


def slug(text: str) -> str:
    """Give a text as artifacts' keys must be: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _done(batch: Batch) -> int:
    return batch.items - batch.counts.processing


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
