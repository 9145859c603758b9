from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from express.recorder import SocketSink, process
from express.recorder.heirs import Life, left_behind
from express.recorder.intake import Intake
from express.recorder.journal import Journal
from tests.express.recording import named, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.express.conftest import PrefectReader

RUN, SINK = b"r" * 16, b"s" * 16


def left(own: Path) -> list[list[bytes]]:
    return [list(journal.runs) for journal in left_behind(own)]


def test_the_journal_of_the_dead_is_given_once(tmp_path: Path) -> None:
    own, theirs = tmp_path / "own.open", tmp_path / "theirs.open"
    life = Life(theirs)
    Journal(theirs).opened(RUN, SINK, "id-1")
    Journal(own)
    assert left(own) == []
    keeper = Life(theirs)  # whoever starts it again when it dies
    life.end()
    assert left(own) == []
    keeper.end()
    assert left(own) == [[RUN]]
    assert left(own) == []
    assert [path.name for path in tmp_path.iterdir()] == ["own.open"]


def test_of_two_heirs_one_inherits(tmp_path: Path) -> None:
    Journal(tmp_path / "dead.open").opened(RUN, SINK, "id-1")
    first = left_behind(tmp_path / "one.open")
    assert list(next(first).runs) == [RUN]
    assert left(tmp_path / "two.open") == []
    assert list(first) == []
    assert not (tmp_path / "dead.open").exists()


def test_another_heir_may_have_been_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = tmp_path / "dead.open"
    Journal(dead)
    monkeypatch.setattr(type(dead), "exists", lambda _: False)
    assert left(tmp_path / "own.open") == []


def test_who_ends_well_leaves_nothing_unless_runs_are_open(tmp_path: Path) -> None:
    journal = tmp_path / "recorder" / "own.open"
    life = Life(journal)
    life.end(for_good=True)
    life.end()
    assert list(journal.parent.iterdir()) == []
    life = Life(journal)
    Journal(journal).opened(RUN, SINK, "id-1")
    life.end(for_good=True)
    assert journal.exists()


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = tmp_path / "file" / "own.open"
    Life(journal).end(for_good=True)
    assert left(journal) == []


async def test_a_recorder_closes_the_runs_of_gateways_that_are_gone_and_of_no_other(
    begin: Any, tmp_path: Path, prefect: PrefectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HEIR_SECONDS", 0.1)
    folder = tmp_path / "recorder"
    gone = await begin(journal=folder / "gone.open", intake=Intake(lease=60), flush_seconds=0.0)
    to = SocketSink(gone.socket_path)
    run = named("left", to)
    run.begin()
    await prefect.flow_run(run.name, "Running")
    await until(lambda: gone.journal.runs)
    heir = await begin(journal=folder / "heir.open", path=tmp_path / "heir.sock", intake=Intake(lease=0.05))
    await asyncio.sleep(0.3)  # it looks, several times
    assert heir.journal.runs == {}
    assert (await prefect.flow_run(run.name))["state_name"] == "Running"
    gone.intake.expire = lambda: None
    gone.stopping.set()
    await prefect.flow_run(run.name, "Crashed")
    await until(lambda: not heir.journal.runs and not (folder / "gone.open").exists())
    await to.close()
