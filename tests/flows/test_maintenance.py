"""A flow on the Prefect server's schedule, run by our own process."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from coordinators.cache_disk import DiskStore
from coordinators.schedule import Schedule
from flows.maintenance import clean_cache
from tests.flows.marks import SOCKETS_LEFT

if TYPE_CHECKING:
    from pathlib import Path


# Prefect's engine leaves its clients' sockets to the collector
@SOCKETS_LEFT
async def test_the_server_schedules_the_flow_and_shows_its_run(
    prefect_server: Any, native: Any, folder: Path
) -> None:
    schedule = Schedule(clean_cache, f"test-{time.time_ns()}", 2)
    ran = 0
    limit = time.monotonic() + 90
    while ran < 2:
        ran += await schedule.run_due(DiskStore(folder, 10**7))
        assert time.monotonic() < limit
        await asyncio.sleep(0.3)
    api = prefect_server.url
    flow = {"flows": {"name": {"any_": ["clean_cache"]}}}
    runs = httpx.post(f"{api}/flow_runs/filter", json=flow).json()
    done = [run for run in runs if run["state_type"] == "COMPLETED"]
    assert len(done) >= 2
    assert {"scheduled", "headgate"} <= set(done[0]["tags"])
    late = [run for run in runs if run["state_type"] == "SCHEDULED" and is_past(run["expected_start_time"])]
    assert len(late) <= 3
    again = Schedule(clean_cache, schedule._name, 2)
    await again.run_due(DiskStore(folder, 10**7))
    assert again._deployment == schedule._deployment
    httpx.delete(f"{api}/deployments/{schedule._deployment}")
    while await schedule.run_due(DiskStore(folder, 10**7)):  # what was due before
        assert time.monotonic() < limit


def is_past(moment: str) -> bool:
    return datetime.fromisoformat(moment) < datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"
