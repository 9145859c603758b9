"""A process that gives way does so beside other sessions too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from express import niceness
from express.niceness import give_way

AUTOGROUP = Path("/proc/self/autogroup")
SHOW = """
import os
from express.niceness import give_way
give_way(7)
print(os.getpriority(os.PRIO_PROCESS, 0))
print(open("/proc/self/autogroup").read() if os.path.exists("/proc/self/autogroup") else "")
"""


@pytest.fixture(autouse=True)
def nice(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep the tests' own process as it is."""
    given: list[int] = []
    monkeypatch.setattr(os, "nice", given.append)
    monkeypatch.setattr(niceness, "_PAUSE", 0.0)
    return given


@pytest.mark.parametrize("leads", [True, False])
def test_a_process_in_a_session_of_its_own_is_as_nice_as_it_says(leads: bool) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], check=True, capture_output=True, text=True, start_new_session=leads
    ).stdout
    own, _, group = shown.partition("\n")
    assert int(own) == os.getpriority(os.PRIO_PROCESS, 0) + 7
    if AUTOGROUP.exists():
        assert ("nice 7" in group) is leads


def test_the_session_is_told_again_when_the_kernel_was_told_by_others_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nice: list[int]
) -> None:
    busy, told = [BlockingIOError(), BlockingIOError()], []

    def write(_: Path, text: str) -> None:
        if busy:
            raise busy.pop()
        told.append(text)

    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    monkeypatch.setattr(Path, "write_text", write)
    give_way(15, tmp_path)
    assert (nice, told) == ([15], ["15"])


def test_a_kernel_that_never_takes_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nice: list[int]
) -> None:
    def write(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    monkeypatch.setattr(Path, "write_text", write)
    give_way(3, tmp_path)
    assert nice == [3]


def test_without_autogroups_only_the_process_is_nice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nice: list[int]
) -> None:
    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    give_way(5, tmp_path / "none" / "autogroup")
    assert nice == [5]
    assert not list(tmp_path.iterdir())
