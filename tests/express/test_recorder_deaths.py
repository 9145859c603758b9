"""What becomes of runs when the recorder dies, or is not told whether Prefect took something."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from express.recorder import SocketSink, frames, server, sink
from express.recorder.intake import Intake
from express.recorder.sink import Unacknowledged
from tests.express.recording import Door, named, recorded, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from express.recorder.process import Recorder
    from tests.express.conftest import PrefectReader

UNREACHABLE = "http://127.0.0.1:1/api"


async def kill(recorder: Recorder, to: SocketSink) -> None:
    """Let it end as one does that is killed: without a word, and with what it has unwritten."""
    recorder.intake.expire = lambda: None  # type: ignore[method-assign]
    recorder._flush_seconds = 0.0
    recorder.stopping.set()
    await until(lambda: not to.connected)


async def states(prefect: PrefectReader, flow_run_id: str) -> list[str]:
    """Give the names of all states that a run has had."""
    session = prefect._session
    async with session.get(f"{prefect.api}/flow_run_states/?flow_run_id={flow_run_id}") as response:
        return sorted(state["name"] for state in await response.json())


async def test_what_waits_in_a_recorder_that_dies_is_sent_to_the_next(
    begin: Any, to: SocketSink, prefect: PrefectReader
) -> None:
    first = await begin(UNREACHABLE)
    runs = [named(f"waiting-{k}", to) for k in range(20)]
    for run in runs:
        run.finish("completed")
    await until(lambda: first.intake.counters["received"] == 40)
    await kill(first, to)
    second = await begin()
    await recorded(second, 20)
    for run in runs:
        assert (await prefect.flow_run(run.name))["state_name"] == "Completed"
    await until(lambda: not to._unacknowledged.frames)
    assert to.dropped == 0


async def test_a_run_that_ended_well_is_not_said_to_have_crashed(
    begin: Any, to: SocketSink, door: Door, prefect: PrefectReader
) -> None:
    first = await begin(door.url)
    run = named("well", to)
    run.begin()
    await prefect.flow_run(run.name, "Running")
    door.answers = [503] * 1000
    run.finish("completed")
    await until(lambda: first.intake.counters["received"] == 2)
    await kill(first, to)
    second = await begin()
    await recorded(second, 1)
    assert (await prefect.flow_run(run.name))["state_name"] == "Completed"
    assert second.intake.counters["crashed"] == 0


async def test_what_was_told_before_a_recorder_died_is_not_told_twice(
    begin: Any, to: SocketSink, prefect: PrefectReader
) -> None:
    first = await begin()
    first.acks.send = lambda: None  # it dies before it says so
    run = named("told", to)
    run.log("a line")
    run.finish("completed")
    await recorded(first, 1)
    await kill(first, to)
    second = await begin()
    await recorded(second, 1)
    flow_run = (await prefect.flow_run(run.name))["id"]
    assert len(await prefect.of_run("artifacts", flow_run)) == 1
    assert len(await prefect.logs(flow_run, 1)) == 1
    assert await states(prefect, flow_run) == ["Completed", "Running"]


async def test_what_is_sent_again_after_its_answer_was_lost_is_there_once(
    begin: Any, to: SocketSink, door: Door, prefect: PrefectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SETTLE_SECONDS", 0.01)
    door.lost = {"POST /artifacts/", "POST /logs/", "POST /flow_runs/"}
    door.busy = {"POST /artifacts/filter"}
    recorder = await begin(door.url)
    run = named("answer-lost", to)
    run.log("a line")
    run.finish("completed")
    await recorded(recorder, 1)
    assert not door.lost
    flow_run = (await prefect.flow_run(run.name))["id"]
    assert len(await prefect.of_run("artifacts", flow_run)) == 1
    assert len(await prefect.logs(flow_run, 1)) == 1


async def test_a_sink_forgets_what_the_recorder_is_done_with(begin: Any, path: Path) -> None:
    recorder = await begin(UNREACHABLE, intake=Intake(waiting=1, rate=0))
    to = SocketSink(path)
    runs = [named(f"one-of-many-{k}", to) for k in range(5)]
    for run in runs:
        run.finish("completed")
    await until(lambda: recorder.intake.counters["sampled_out"] == 4)
    await until(lambda: list(to._unacknowledged.frames) == [runs[0].id.bytes])
    recorder.acks.add(b"somebody who is gone", b"a run")
    await to.close()


async def test_a_sink_that_is_back_before_it_was_seen_to_leave_is_told_all_the_same(path: Path) -> None:
    from express.recorder.process import Acks

    told: list[bytes] = []

    class Transport(asyncio.Transport):
        def write(self, data: Any) -> None:
            told.append(data)

    before, now, acks = Transport(), Transport(), Acks()
    acks.reaches(b"s" * 16, before)
    acks.reaches(b"s" * 16, now)
    acks.left(b"s" * 16, before)
    acks.add(b"s" * 16, b"r" * 16)
    acks.add(b"s" * 16, b"q" * 16)
    acks.send()
    assert told == [frames.encode(frames.ACK, b"s" * 16, b"r" * 16 + b"q" * 16)]


def test_unacknowledged_ends_are_bounded_and_the_lost_ones_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Unacknowledged(100)
    for key in (b"a", b"b", b"c"):
        kept.add(key, bytes(40))
    assert list(kept.frames) == [b"b", b"c"]
    kept.release([b"a", b"b", b"unknown"])
    assert kept.forget_lost() == 0
    monkeypatch.setattr(sink, "OPEN_RUNS", 1)
    kept.add(b"d", bytes(40))
    assert (list(kept.frames), kept.forget_lost(), kept.forget_lost()) == ([b"d"], 1, 0)
