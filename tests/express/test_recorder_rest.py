"""A recorder in a flood: it rests between its calls, so that Prefect leaves the processor to others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from express.recorder import frames, process
from express.recorder.process import WRITERS, Recorder
from express.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

MANY = 12


class Api:
    """A Prefect that takes everything; while it does, `flood` more runs are left out."""

    def __init__(self, recorder: Recorder, flood: int) -> None:
        self._recorder, self._flood = recorder, flood

    async def create(self, *_: Any) -> str:
        self._recorder.intake.skipped(self._flood)
        await asyncio.sleep(0.001)
        return "id"


@pytest.mark.parametrize(("flood", "written"), [(0, MANY), (1, WRITERS)])
async def test_only_in_a_flood_a_writer_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flood: int, written: int
) -> None:
    monkeypatch.setattr(process, "REST", 1e6)
    recorder = Recorder(tmp_path / "recorder.sock", "http://127.0.0.1:1/api")
    recorder.api = Api(recorder, flood)  # type: ignore[assignment]
    for _ in range(MANY):
        run = Run("messages", name="messages-1")
        recorder.intake.take(
            frames.Frame(frames.START, False, run.id.bytes, frames.start_body(run)), b"s" * 16
        )
    writers = [asyncio.create_task(recorder._write()) for _ in range(WRITERS)]
    await asyncio.sleep(0.3)
    assert recorder.intake.counters["running"] == written
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
