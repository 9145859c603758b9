"""Child processes that are started again, also when the system refuses to at first."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from headgate import children
from headgate.children import Child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that ends at once."""
    monkeypatch.setattr(children, "_LONGEST_PAUSE", 0.05)
    path = tmp_path / "program"
    path.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
    path.chmod(0o700)
    return path


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_what_cannot_be_started_again_is_tried_until_it_can(program: Path) -> None:
    ends: list[int] = []
    away = program.with_suffix(".away")

    def ended(_: str, code: int) -> None:
        ends.append(code)
        program.rename(away)

    child = Child("one", [str(program)], env=os.environ, ended=ended)
    await child.start()
    await until(lambda: child.restarts > 2)
    assert ends == [3]
    away.rename(program)
    await until(lambda: len(ends) > 1)
    await until(lambda: child.state["restarts"] > 5)
    await child.stop(5)
    assert child.state["state"] == "stopped"


async def test_what_is_killed_between_two_starts_stays_so(program: Path) -> None:
    child = Child("one", [str(program)], env=os.environ)
    await child.start()
    await until(lambda: child.last_exit is not None)
    child.kill()
    await asyncio.sleep(0.7)  # the pause between the two is half a second
    assert child.restarts == 0
    await child.stop(5)


async def test_a_line_that_does_not_come_in_time_is_empty() -> None:
    child = Child("one", [sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ)
    assert await child.start_and_read_line(0.2) == b""
    await child.stop(5)


async def test_one_that_is_to_begin_anew_does_so_in_its_new_environment(tmp_path: Path) -> None:
    told, ends = tmp_path / "told", []
    script = f"import os, time; open({str(told)!r}, 'a').write(os.environ['AT'] + ' '); time.sleep(60)"
    child = Child(
        "one",
        [sys.executable, "-c", script],
        env=os.environ | {"AT": "old"},
        ended=lambda *end: ends.append(end),
    )
    await child.start()
    await until(lambda: told.exists() and told.read_text() == "old ")
    child.start_again(os.environ | {"AT": "new"})
    await until(lambda: told.read_text() == "old new ")
    assert (ends, child.last_exit, child.restarts) == ([], None, 1)
    await child.stop(5)
    child.start_again(os.environ)  # it has ended for good
    assert child.state["state"] == "stopped"
