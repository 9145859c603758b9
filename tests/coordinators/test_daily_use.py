"""The days' use for the overview: read from a real store, summed up, and drawn within its frame."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from coordinators import daily_use
from coordinators.daily_use import DAYS, MODELS, DailyUse, Used, sum_up
from coordinators.overview_days import day_view
from coordinators.usage import COST, OTHERS, REQUESTS, SIZE, TIMED, TOOK, Parcel, Sums
from coordinators.usage_store import UsageStore
from tasks.batch import StoreFailed


def today() -> date:
    return datetime.now(UTC).date()  # it may be another one than when the tests were collected


def window() -> list[str]:
    return [(today() - timedelta(days=back)).isoformat() for back in range(DAYS - 1, -1, -1)]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the first reading, however slow the machine."""
    monkeypatch.setattr(daily_use, "_PATIENCE", 60)


def row(day: str | None = None, model: str = "m", **sums: float) -> dict[str, Any]:
    """Give a row of the store's report, of today unless another day is given."""
    names = ("requests", "errors", "unpriced", "input_tokens", "output_tokens", "cache_read_tokens",
             "cache_creation_tokens", "cost", "estimated", "timed", "took_ms")  # fmt: skip
    return {"day": day or window()[-1], "model": model, **dict.fromkeys(names, 0), "requests": 1, **sums}


async def test_what_is_stored_is_read(database_url: str) -> None:
    store = UsageStore(database_url)
    used: Sums = [0] * SIZE
    used[REQUESTS], used[COST], used[TIMED], used[TOOK] = 4, 0.5, 2, 300.0
    places = [(day, tenant, "m", "b", "s") for day in window()[-2:] for tenant in ("t", "u")]
    far = ((today() - timedelta(days=DAYS)).isoformat(), "t", "m", "b", "")
    await store.exchange(Parcel(1, dict.fromkeys([*places, far], used), {}), [], None)
    use = await DailyUse(store.report, kept=True).look()
    await store.close()
    assert use.days == tuple(window())
    assert use.note is None
    expected = Used(requests=8, cost=1.0, timed=4, took_ms=600.0)
    assert use.cells == {(day, "m"): expected for day in window()[-2:]}
    assert expected.mean_ms == 150.0


class Store:
    """Answers when it is let, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.answers = asyncio.Event()

    async def report(self, by: Any, since: str) -> list[dict[str, Any]]:
        self.asked += 1
        await self.answers.wait()
        if self.fails:
            raise StoreFailed("cannot connect to db.internal")
        return [row()]


async def test_a_slow_store_is_asked_once_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_use, "_PATIENCE", 0.01)
    monkeypatch.setattr(daily_use, "_EVERY", 0.0)
    store = Store()
    use = DailyUse(store.report, kept=True)
    for _ in range(3):
        assert (await use.look()).note == "What was used by the day is being read."
    assert store.asked == 1
    store.answers.set()
    monkeypatch.setattr(daily_use, "_PATIENCE", 30)
    assert (await use.look()).models == ("m",)


async def test_the_store_is_asked_now_and_then_only() -> None:
    store = Store()
    store.answers.set()
    use = DailyUse(store.report, kept=True)
    for _ in range(5):
        assert (await use.look()).models == ("m",)
    assert store.asked == 1


async def test_a_store_that_fails_leaves_a_sentence_and_what_was_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(daily_use, "_EVERY", 0.0)
    store = Store()
    store.answers.set()
    store.fails = True
    use = DailyUse(store.report, kept=True)
    first = await use.look()
    assert (first.note, first.models) == ("The database of usage does not answer now; see the log.", ())
    assert day_view(first)["charts"] == []
    store.fails = False
    await read_again(use)
    known = await use.look()
    assert (known.note, known.models) == (None, ("m",))
    store.fails = True
    await read_again(use)
    last = await use.look()
    assert last.models == ("m",)
    assert last.note is not None
    assert "does not answer now" in last.note
    assert "was read at" in last.note


async def read_again(use: DailyUse) -> None:
    """Let a reading that `look` does not wait for come to its end."""
    await use.look()
    for _ in range(200):
        await asyncio.sleep(0.01)
        if use._reading is not None and use._reading.done():
            return


async def test_usage_that_is_off_is_told_of() -> None:
    async def nothing(by: Any, since: str) -> list[dict[str, Any]]:
        return []

    assert (await DailyUse(nothing, kept=False).look()).note == (
        "Usage is not stored now (HEADGATE_USAGE=off)."
    )
    assert (await DailyUse(nothing, kept=True).look()).note == "Nothing was used in these days."


def test_the_less_used_are_others() -> None:
    rows = [row(model=f"model-{number}", requests=100 - number) for number in range(40)]
    rows += [row(model="dear", cost=9.0), row(model=OTHERS, requests=1000), row(model="refused", requests=0)]
    use = sum_up(rows, window())
    assert use.models == ("dear", "model-0", "model-1", "model-2", "model-3", OTHERS)
    assert len(use.models) == MODELS + 1
    cells = use.cells or {}
    assert cells[window()[-1], OTHERS].requests == 1000 + sum(100 - number for number in range(4, 40))
    assert sum(used.requests for used in cells.values()) == sum(int(one["requests"]) for one in rows)


def test_days_beyond_the_window_are_left_out() -> None:
    late = (today() + timedelta(days=1)).isoformat()  # another machine's clock
    assert sum_up([row(), row(late), row("2001-01-01")], window()).cells == {
        (window()[-1], "m"): Used(requests=1)
    }
    assert sum_up([], window()).models == ()


def test_charts_and_tables_tell_the_same_and_stay_in_their_frame() -> None:
    rows = [
        row(model="a", requests=12_000, errors=3, input_tokens=5, cache_read_tokens=1_000_000,
            output_tokens=7, cost=12.5, estimated=1.0, timed=2, took_ms=5000.0),
        row(window()[0], "a", requests=1, timed=1, took_ms=1e7),
        row(window()[3], "b", requests=2, unpriced=2, input_tokens=4),
    ]  # fmt: skip
    view = day_view(sum_up(rows, window()))
    for chart in view["charts"]:
        for bar in chart.get("bars", ()):
            assert 0 <= bar["y"] <= bar["y"] + bar["h"] <= chart["height"]
            assert chart["left"] <= bar["x"] <= bar["x"] + bar["w"] <= chart["width"]
        for dot in chart.get("dots", ()):
            assert 0 <= dot["y"] <= chart["height"]
            assert chart["left"] <= dot["x"] <= chart["width"]
    requests, times, tokens, costs = view["charts"]
    assert [len(chart["bars"]) for chart in (requests, tokens, costs)] == [3, 2, 1]
    assert len(times["dots"]) == 2
    assert requests["told"] == "12.0k requests, 3 of them failed"
    assert costs["told"] == "~$12.50 in all; the cost of 2 requests is not known"
    assert [one["day"] for one in view["rows"]] == [window()[-1], window()[3], window()[0]]
    assert view["rows"][0] == {
        "day": window()[-1], "model": "a", "requests": "12\u202f000", "failed": "3",
        "taken": "1\u202f000\u202f005", "given": "7", "cost": "~$12.50", "mean": "2.5 s",
    }  # fmt: skip
    assert (view["totals"][1]["cost"], view["totals"][1]["mean"]) == ("not known", "—")


def test_others_keep_their_colour() -> None:
    view = day_view(sum_up([row(model=""), row(model=OTHERS)], window()))
    assert [one["n"] for one in view["totals"]] == [0, MODELS]
    assert view["totals"][0]["model"] == "(none)"
    assert {bar["n"] for bar in view["charts"][0]["bars"]} == {0, MODELS}
