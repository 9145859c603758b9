"""The cleaning goes on, by the Prefect server's schedule or by the clock, whatever fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from coordinators.captures import FOLDER, CaptureFolder
from coordinators.server_folder import OldFolders, ServerFolder
from express import Run
from flows.maintenance import clean_logs
from headgate import maintenance
from headgate.maintenance import EVERY, LOOK, Cleaner, clean

if TYPE_CHECKING:
    from pathlib import Path


class Store:
    """A store that counts how often it was cleaned."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def open(self) -> None:
        self.done.append("open")

    async def clean(self) -> int:
        self.done.append("clean")
        return 3

    async def totals(self) -> str:
        return "7 left"

    async def close(self) -> None:
        self.done.append("close")


CLEANED = ["open", "clean", "close"]


async def test_without_prefect_the_clock_says_when() -> None:
    store = Store()
    cleaner = Cleaner(lambda: store, None, clean)  # type: ignore[arg-type, return-value]
    begun = time.monotonic()
    await cleaner.look(begun + EVERY - 5)
    assert store.done == []
    await cleaner.look(begun + EVERY + 1)
    await cleaner.look(begun + EVERY + 2)
    assert store.done == CLEANED


async def test_the_schedule_comes_before_the_clock() -> None:
    store, due = Store(), [False, True, False]

    async def ask(_: Any) -> bool:
        return due.pop(0)

    cleaner = Cleaner(lambda: store, ask, clean)  # type: ignore[arg-type, return-value]
    begun = time.monotonic()
    for after in (EVERY, EVERY + LOOK, 2 * EVERY):
        await cleaner.look(begun + after)
    assert store.done == []


async def test_a_prefect_that_fails_leaves_it_to_the_clock() -> None:
    store = Store()

    async def ask(_: Any) -> bool:
        raise OSError("nobody listens")

    cleaner = Cleaner(lambda: store, ask, clean)  # type: ignore[arg-type, return-value]
    begun = time.monotonic()
    await cleaner.look(begun + EVERY + 1)
    assert store.done == []
    await cleaner.look(begun + EVERY + 2 * LOOK + 1)
    assert store.done == CLEANED


async def test_a_store_that_fails_is_closed() -> None:
    class Broken(Store):
        async def clean(self) -> int:
            raise OSError("no")

    store = Broken()
    with pytest.raises(OSError, match="no"):
        await clean(store)  # type: ignore[arg-type]
    assert store.done == ["open", "close"]


def test_the_schedule_has_the_name_of_the_machine() -> None:
    schedule = maintenance.scheduled()[0].__self__  # type: ignore[attr-defined]
    assert schedule._name.startswith("every-5-minutes-on-")


async def test_what_goes_wrong_is_noted() -> None:
    noted: list[Exception] = []

    async def ask(_: Any) -> bool:
        raise OSError("nobody listens")

    def note(error: Exception) -> str:
        noted.append(error)
        return "0" * 12

    cleaner = Cleaner(Store, ask, clean, note=note)  # type: ignore[arg-type]
    await cleaner.look(time.monotonic())
    assert [type(error) for error in noted] == [OSError]


async def test_old_log_folders_are_deleted_by_flow_and_by_hand(tmp_path: Path) -> None:
    for name in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        folder = ServerFolder(tmp_path / "logs", name)
        folder.create(version="1", settings={})
        folder.release()
    captures = CaptureFolder(tmp_path / "data" / FOLDER, most=10**6, hours=1)
    captures.path.mkdir(parents=True)
    for age in (0, 2, 3):
        then = int((time.time() - age * 3600) * 1000)
        (captures.path / f"{then:013d}-req_{age}.capture").write_bytes(b'{"id":"req"}\n')
    folders = tmp_path / "logs"
    told = await Run("clean_logs", name="now").call(clean_logs, OldFolders(folders, keep=2, days=1), captures)
    assert told == "1 log folders deleted; 2 left. 2 captured requests deleted; 1 left"
    old = maintenance.Leftovers(OldFolders(folders, keep=1, days=1), captures)
    assert await maintenance.clean_folders(old)
    assert len(list(folders.iterdir())) == 1
    assert captures.left() == 1
