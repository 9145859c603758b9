from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from express.recorder import frames, intake
from express.recorder.allowance import Allowance
from express.recorder.intake import Entry, Intake
from express.recorder.journal import Opened

if TYPE_CHECKING:
    import pytest

SINK, OTHER_SINK = b"s" * 16, b"t" * 16


def key(n: int) -> bytes:
    return n.to_bytes(16, "big")


def start(n: int, *, keep: bool = False) -> frames.Frame:
    return frames.Frame(frames.START, keep, key(n), b'{"start":1}')


def end(n: int, *, keep: bool = False, state: str = "completed") -> frames.Frame:
    return frames.Frame(frames.END, keep, key(n), orjson.dumps({"end": 2, "state": state}))


async def drain(box: Intake) -> list[Entry]:
    """Take out all that waits, as a writer would that wrote it at once."""
    taken: list[Entry] = []
    while box.waiting:
        entry = await box.next()
        taken.append(entry)
        entry.flow_run_id = entry.flow_run_id or "id"
        (box.release if entry.end is None else box.settle)(entry)
    return taken


def test_an_allowance_is_a_burst_and_then_a_rate() -> None:
    now = 0.0
    allowance = Allowance(2, 1.0, lambda: now)
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    now = 1.5
    assert [allowance.take() for _ in range(2)] == [True, False]
    now = 100.0
    assert [allowance.take() for _ in range(3)] == [True, True, False]


async def test_a_run_is_written_at_its_start_and_at_its_end() -> None:
    box = Intake()
    box.take(start(1), SINK)
    (entry,) = await drain(box)
    assert (entry.key, entry.start, entry.end) == (key(1), None, None)
    assert list(box.open) == [key(1)]
    box.take(end(1), SINK)
    box.take(end(1), SINK)
    (again,) = await drain(box)
    assert again is entry
    assert (box.open, box.waiting, box._bytes) == ({}, 0, 0)
    assert box.counters["received"] == 3


async def test_an_end_that_comes_while_its_start_waits_is_written_with_it() -> None:
    box = Intake()
    box.take(start(1), SINK)
    box.take(end(1), SINK)
    assert box.waiting == 1
    (entry,) = await drain(box)
    assert entry.end is not None


async def test_an_end_that_comes_while_its_start_is_written_waits_for_that() -> None:
    box = Intake()
    box.take(start(1), SINK)
    entry = await box.next()
    box.take(end(1), SINK)
    assert box.waiting == 1
    assert not any(box._queues)
    box.release(entry)
    assert (await box.next()) is entry


async def test_a_second_start_changes_nothing() -> None:
    box = Intake()
    box.take(start(1), SINK)
    box.take(start(1), SINK)
    assert box.waiting == 1


async def test_in_a_flood_most_are_left_out_but_what_was_begun_is_ended() -> None:
    box = Intake(waiting=3, rate=0.0)
    for n in range(100):
        box.take(start(n), SINK)
    assert box.waiting == 3
    for n in range(100):
        box.take(end(n), SINK)
    assert box.counters["sampled_out"] == 97
    assert [e.key for e in await drain(box)] == [key(0), key(1), key(2)]


async def test_runs_to_be_kept_have_their_own_allowance_and_go_first() -> None:
    box = Intake(waiting=2, rate=0.0)
    for n in range(5):
        box.take(start(n), SINK)
    for n in range(10, 30):
        box.take(end(n, keep=True), SINK)
    kept = [key(n) for n in range(10, 18)]
    assert box.counters["dropped"] == 12
    assert [e.key for e in await drain(box)] == [*kept, key(0), key(1)]


async def test_starts_go_before_ends() -> None:
    box = Intake()
    box.take(start(1), SINK)
    await drain(box)
    box.take(end(1), SINK)
    box.take(start(2), SINK)
    assert [e.key for e in await drain(box)] == [key(2), key(1)]


async def test_a_bare_end_of_a_run_nobody_knows_is_nothing() -> None:
    box = Intake()
    box.take(frames.Frame(frames.END, True, key(1), frames.BARE_ENDS["failed"]), SINK)
    assert (box.open, box.counters["sampled_out"]) == ({}, 1)


async def test_without_memory_only_the_state_of_an_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Intake()
    box.take(start(1), SINK)
    monkeypatch.setattr(intake, "KEPT_BYTES", 1)
    box.take(start(2), SINK)
    box.take(end(1, state="cancelled"), SINK)
    (entry,) = await drain(box)
    assert entry.end == frames.BARE_ENDS["cancelled"]


async def test_the_runs_of_a_sink_that_does_not_come_back_have_crashed() -> None:
    box = Intake(lease=0.01)
    box.take(start(1), SINK)
    box.take(start(2), OTHER_SINK)
    box.take(start(3), SINK)
    box.take(end(3), SINK)
    await drain(box)
    box.lost(SINK)
    await asyncio.sleep(0.05)
    (entry,) = await drain(box)
    assert (entry.key, entry.end) == (key(1), frames.BARE_ENDS["crashed"])
    assert list(box.open) == [key(2)]
    assert box.counters["crashed"] == 1


async def test_a_sink_that_comes_back_goes_on_and_lost_ends_are_noticed() -> None:
    box = Intake(lease=0.05)
    for n in (1, 2):
        box.take(start(n), SINK)
    await drain(box)
    box.lost(SINK)
    box.greeted(SINK, {key(1)})
    (entry,) = await drain(box)
    assert entry.key == key(2)
    await asyncio.sleep(0.1)
    assert box.waiting == 0
    box.take(end(1), SINK)
    (entry,) = await drain(box)
    assert entry.key == key(1)


async def test_what_another_recorder_left_is_taken_over() -> None:
    box = Intake(lease=60)
    box.inherit({key(1): Opened(SINK, "id-1"), key(2): Opened(OTHER_SINK, "id-2")})
    box.greeted(SINK, {key(1)})
    assert box.waiting == 0
    box.expire()
    (entry,) = await drain(box)
    assert (entry.key, entry.flow_run_id) == (key(2), "id-2")
    assert list(box.open) == [key(1)]


async def test_idle_is_when_nothing_waits() -> None:
    box = Intake()
    await box.idle()
    box.take(start(1), SINK)
    waiting = asyncio.create_task(box.idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    await drain(box)
    await waiting


async def test_a_writer_waits_for_what_comes() -> None:
    box = Intake()
    first = asyncio.create_task(box.next())
    await asyncio.sleep(0)
    box.take(start(1), SINK)
    assert (await first).key == key(1)
