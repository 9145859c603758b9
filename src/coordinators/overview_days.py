"""What models were used for by the day, as charts and tables: `DaysOfUse` in, what a template draws out."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from coordinators.daily_use import MODELS, Used
from coordinators.overview_charts import lined, stacked
from coordinators.overview_words import count, cut, dollars, grouped, seconds, short
from coordinators.usage import OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coordinators.daily_use import DaysOfUse
    from coordinators.overview_charts import Chart

_WRITTEN = 3  # every third day has its name under it
_LONGEST = 40


def day_view(use: DaysOfUse) -> dict[str, Any]:
    """Give the charts, the models' sums, and the days' rows, newest first; and the note, if there is one."""
    if not use.models:
        return {"note": use.note, "days": len(use.days), "charts": [], "totals": [], "rows": []}
    drawn = _Days(use)
    return {
        "note": use.note,
        "days": len(use.days),
        "charts": drawn.charts(),
        "totals": [
            {"model": _name(model, 80), "n": drawn.number(model), **_words(drawn.whole(model))}
            for model in use.models
        ],
        "rows": [
            {"day": day, "model": _name(model, 80), **_words(used)}
            for day in reversed(use.days)
            for model in use.models
            if (used := drawn.cells.get((day, model))) is not None
        ],
    }


class _Days:
    """The days' use as it is drawn; it has at least one model."""

    def __init__(self, use: DaysOfUse) -> None:
        self.cells = use.cells or {}
        self._use = use
        self._names = [_day(day) for day in use.days]
        self._all = _sum(self.cells.values())

    def number(self, model: str) -> int:
        """Give the number of a model's colour; that of the others is always the same."""
        return MODELS if model == OTHERS else list(self._use.models).index(model)

    def whole(self, model: str) -> Used:
        """Sum a model's days up."""
        return _sum(used for (_, of), used in self.cells.items() if of == model)

    def charts(self) -> list[Chart]:
        """Give the four charts."""
        used = self._all
        costs = f"{_cost(used)} in all"
        if used.unpriced:
            costs += f"; the cost of {count(used.unpriced)} requests is not known"
        mean = "no answer was timed" if used.mean_ms is None else f"{seconds(used.mean_ms)} on average"
        charts = [
            self._stacked(
                "Requests a day by model",
                f"{count(used.requests)} requests, {count(used.errors)} of them failed",
                lambda one: float(one.requests),
                count,
            ),
            self._times(f"{mean}; of answers by backends that ended well"),
            self._stacked(
                "Tokens a day by model",
                f"{short(used.taken)} tokens in and {short(used.given)} out",
                lambda one: float(one.taken + one.given),
                short,
            ),
            self._stacked("Cost a day by model", costs, lambda one: one.cost, dollars),
        ]
        return [self._coloured(chart) for chart in charts]

    def _stacked(
        self, title: str, told: str, value: Callable[[Used], float], word: Callable[[float], str]
    ) -> Chart:
        none = Used()
        series = [
            (_name(model), [value(self.cells.get((day, model), none)) for day in self._use.days])
            for model in self._use.models
        ]
        return stacked(title, told, self._names, series, word, every=_WRITTEN)

    def _times(self, told: str) -> Chart:
        series = [
            (
                _name(model),
                [
                    (place, mean)
                    for place, day in enumerate(self._use.days)
                    if (mean := self.cells.get((day, model), Used()).mean_ms) is not None
                ],
            )
            for model in self._use.models
        ]
        title = "Mean time of an answer by day and model"
        return lined(title, told, self._names, series, seconds, every=_WRITTEN)

    def _coloured(self, chart: Chart) -> Chart:
        """Give each series its model's colour."""
        colours = [self.number(model) for model in self._use.models]
        for kind in ("bars", "lines", "dots"):
            for one in chart.get(kind, ()):
                one["n"] = colours[one["n"]]
        return chart | {"colours": colours}


def _sum(parts: Iterable[Used]) -> Used:
    whole = Used()
    for one in parts:
        whole.add(one)
    return whole


def _words(used: Used) -> dict[str, str]:
    return {
        "requests": grouped(used.requests),
        "failed": grouped(used.errors),
        "taken": grouped(used.taken),
        "given": grouped(used.given),
        "cost": _cost(used),
        "mean": "—" if used.mean_ms is None else seconds(used.mean_ms),
    }


def _cost(used: Used) -> str:
    """Write a cost; `~` says that a part of it is estimated."""
    if not used.cost and used.unpriced:
        return "not known"
    return f"{'~' if used.estimated else ''}{dollars(used.cost)}"


def _day(day: str) -> str:
    """Write a day shortly, for where there is no room: 27 Nov."""
    known = date.fromisoformat(day)
    return f"{known.day} {_MONTHS[known.month - 1]}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _name(model: str, most: int = _LONGEST) -> str:
    return cut(model or "(none)", most)
