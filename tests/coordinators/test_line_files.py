"""Lines of several processes stay whole, files rotate, and a full disk costs lines only."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import stat
import time

import pytest

from coordinators import line_files
from coordinators.line_files import LineFile, Rotation, set_aside


def lines_of(path):
    files = [path, *set_aside(path)]
    return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]


def line(number, at="2026-11-27T17:10:07"):
    return json.dumps({"time": at, "n": number}).replace('": "', '":"').encode()


async def written(file):
    """Wait until the thread has written what was added."""
    for _ in range(200):
        if file._size == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not written in time")


async def test_lines_are_written_in_batches_by_a_thread(tmp_path, monkeypatch):
    file = LineFile(tmp_path / "a.jsonl")
    for number in range(100):
        file.add(line(number))
    assert not file.path.exists()  # nothing is written where the event loop would wait for it
    await written(file)
    assert [one["n"] for one in lines_of(file.path)] == list(range(100))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("odd"), OverflowError()]
)
async def test_the_thread_survives_what_goes_wrong(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    file = LineFile(tmp_path / "a.jsonl")
    with monkeypatch.context() as broken:
        broken.setattr(file, "_write", fail)
        file.add(line(0))
        await written(file)
    assert file.lost == 1
    line_files._writer.do(fail)
    file.add(line(1))
    await written(file)
    assert [one["n"] for one in lines_of(file.path)] == [1]


def test_without_a_loop_lines_are_written_at_once(tmp_path):
    file = LineFile(tmp_path / "a.jsonl")
    file.add(line(1))
    assert len(lines_of(file.path)) == 1


def _append(path, who, count):
    file = LineFile(path, Rotation(size=4000, keep=1000))
    for number in range(count):
        file.add(line(f"{who}-{number}", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())))


def test_several_processes_append_and_rotate_without_losing_or_mixing_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(path, who, 300)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert {one["n"] for one in lines_of(path)} == {f"{who}-{n}" for who in range(3) for n in range(300)}
    assert len(set_aside(path)) > 3


def test_files_rotate_by_size_and_only_so_many_are_kept(tmp_path):
    file = LineFile(tmp_path / "a.jsonl", Rotation(size=100, keep=2))
    for number in range(20):
        file.add(line(number))
    assert len(set_aside(file.path)) == 2
    assert file.path.stat().st_size <= 100
    assert lines_of(file.path)[-1]["n"] < 19  # the newest come first: what is set aside follows


def test_files_rotate_by_the_age_of_their_first_line(tmp_path):
    file = LineFile(tmp_path / "a.jsonl", Rotation(age=3600))
    file.add(line(1, "2020-01-01T00:00:00"))
    file.close()
    again = LineFile(tmp_path / "a.jsonl", Rotation(age=3600))
    again.add(line(2))
    assert len(set_aside(file.path)) == 1
    assert [one["n"] for one in lines_of(file.path)] == [2, 1]


def test_a_deleted_file_is_made_again(tmp_path):
    file = LineFile(tmp_path / "a.jsonl")
    file.add(line(1))
    file.path.unlink()
    file.add(line(2))
    assert [one["n"] for one in lines_of(file.path)] == [2]


def test_a_full_disk_loses_lines_counts_them_and_says_so_once(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(line_files._log, "error", lambda event, **facts: told.append((event, facts)))
    file = LineFile(tmp_path / "a.jsonl")
    file.path.symlink_to("/dev/full")
    monkeypatch.setattr(os, "O_NOFOLLOW", 0)
    for number in range(3):
        file.add(line(number))
    assert file.lost == 3
    ((event, facts),) = told
    assert event == "log lines are lost"
    assert "space" in facts["because"]
    file.path.unlink()
    file.add(line(4))
    assert lines_of(file.path)[-1]["n"] == 4
    assert file.lost == 3


def test_a_folder_that_is_gone_or_a_link_in_the_files_place_loses_lines_only(tmp_path):
    gone = LineFile(tmp_path / "gone" / "a.jsonl")
    gone.add(line(1))
    assert gone.lost == 1
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "b.jsonl").symlink_to(elsewhere)
    linked = LineFile(tmp_path / "b.jsonl")
    linked.add(line(1))
    assert linked.lost == 1
    assert not elsewhere.exists()


async def test_what_waits_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(line_files, "_MOST_WAITING", 200)
    file = LineFile(tmp_path / "a.jsonl")
    for number in range(100):
        file.add(line(number))
    await written(file)
    kept = len(lines_of(file.path))
    assert 0 < kept < 100
    assert file.lost == 100 - kept


@pytest.mark.parametrize("torn", [b'{"time":"2026', b"\n\n"])
def test_the_age_of_a_file_that_begins_oddly_is_taken_from_now(tmp_path, torn):
    path = tmp_path / "a.jsonl"
    path.write_bytes(torn)
    LineFile(path).add(line(1))
    assert set_aside(path) == []
