from __future__ import annotations

from typing import TYPE_CHECKING

from express.recorder import journal
from express.recorder.journal import Journal, Opened

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RUN, OTHER, SINK = b"r" * 16, b"o" * 16, b"s" * 16


def test_what_was_left_open_is_found_again(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j")
    first.opened(RUN, SINK, "id-1")
    first.opened(OTHER, SINK, "id-2")
    first.ended(OTHER)
    first.ended(OTHER)
    assert Journal(tmp_path / "j").runs == {RUN: Opened(SINK, "id-1")}


def test_a_damaged_journal_gives_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text(f"nonsense\n+ {RUN.hex()} {SINK.hex()} id-1\n+ zz zz id\n+ {OTHER.hex()}")
    assert list(Journal(path).runs) == [RUN]
    path.write_bytes(b"\xff\xfe")
    assert Journal(path).runs == {}


def test_it_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "COMPACT_BYTES", 1000)
    path = tmp_path / "j"
    book = Journal(path)
    book.opened(RUN, SINK, "id-1")
    for _ in range(200):
        book.opened(OTHER, SINK, "id-2")
        book.ended(OTHER)
        assert path.stat().st_size < 1200
    assert Journal(path).runs == {RUN: Opened(SINK, "id-1")}


def test_a_disk_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    book = Journal(tmp_path / "no" / "such" / "folder")
    book.opened(RUN, SINK, "id-1")
    assert book.runs == {RUN: Opened(SINK, "id-1")}
