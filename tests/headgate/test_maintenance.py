"""The cleaning goes on, by the Prefect server's schedule or by the clock, whatever fails."""

from __future__ import annotations

import time
from typing import Any

import pytest

from headgate import maintenance
from headgate.maintenance import EVERY, LOOK, Cleaner, clean


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
    cleaner = Cleaner(lambda: store, None)  # type: ignore[arg-type, return-value]
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

    cleaner = Cleaner(lambda: store, ask)  # type: ignore[arg-type, return-value]
    begun = time.monotonic()
    for after in (EVERY, EVERY + LOOK, 2 * EVERY):
        await cleaner.look(begun + after)
    assert store.done == []


async def test_a_prefect_that_fails_leaves_it_to_the_clock() -> None:
    store = Store()

    async def ask(_: Any) -> bool:
        raise OSError("nobody listens")

    cleaner = Cleaner(lambda: store, ask)  # type: ignore[arg-type, return-value]
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
    schedule = maintenance.scheduled().__self__  # type: ignore[attr-defined]
    assert schedule._name.startswith("every-5-minutes-on-")
