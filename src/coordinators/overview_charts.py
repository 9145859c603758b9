"""The overview's charts: numbers in, places of bars and lines out; a template draws them as SVG.

Each has a table beside it with the same numbers (`hour_rows`, and those of `overview_days`).
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from coordinators.overview_words import count, dollars, grouped, seconds, short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coordinators.lately import Minute

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 600, 150, 62, 20, 8
_PLOT = WIDTH - LEFT
_BASE = HEIGHT - BOTTOM
Chart = dict[str, Any]


def hour_charts(minutes: Sequence[tuple[str, Minute]]) -> list[Chart]:
    """Give the charts of the last hour."""
    costs: dict[str, float] = {}
    for _, minute in minutes:
        for model, cost in minute.costs.items():
            costs[model] = costs.get(model, 0.0) + cost
    return [_requests(minutes), _latency(minutes), _tokens(minutes), _by_model(costs)]


def hour_rows(minutes: Sequence[tuple[str, Minute]]) -> list[dict[str, str]]:
    """Give what the charts of the last hour show as rows of a table: minutes with requests, newest first."""
    return [
        {
            "minute": name,
            "requests": grouped(minute.requests),
            "failed": grouped(minute.failed),
            "median": seconds(times[0]),
            "high": seconds(times[1]),
            "taken": grouped(minute.input_tokens),
            "given": grouped(minute.output_tokens),
            "cost": dollars(sum(minute.costs.values())),
        }
        for name, minute in reversed(minutes)
        if minute.requests
        for times in [_middle_and_high(minute.times)]
    ]


def _requests(minutes: Sequence[tuple[str, Minute]]) -> Chart:
    good = [float(minute.requests - minute.failed) for _, minute in minutes]
    bad = [float(minute.failed) for _, minute in minutes]
    told = f"{sum(good) + sum(bad):.0f} requests in the last hour, {sum(bad):.0f} of them failed"
    names = [name for name, _ in minutes]
    return stacked("Requests a minute", told, names, (("ended well", good), ("failed", bad)), count)


def _tokens(minutes: Sequence[tuple[str, Minute]]) -> Chart:
    taken = [float(minute.input_tokens) for _, minute in minutes]
    given = [float(minute.output_tokens) for _, minute in minutes]
    told = f"{short(sum(taken))} tokens in and {short(sum(given))} out in the last hour"
    names = [name for name, _ in minutes]
    return stacked("Tokens a minute", told, names, (("in", taken), ("out", given)), short)


def _latency(minutes: Sequence[tuple[str, Minute]]) -> Chart:
    timed = [
        (place, _middle_and_high(minute.times)) for place, (_, minute) in enumerate(minutes) if minute.times
    ]
    middle = [(place, times[0]) for place, times in timed]
    high = [(place, times[1]) for place, times in timed]
    told = "no requests in the last hour"
    if middle:
        told = f"median of the last minute with requests: {seconds(middle[-1][1])}"
    names = [name for name, _ in minutes]
    series = (("median", middle), ("95 of 100 took at most", high))
    return lined("Time a request took", told, names, series, seconds)


def _middle_and_high(times: Sequence[float]) -> tuple[float, float]:
    """Give the median, and what 95 of 100 took at most."""
    ordered = sorted(times)
    return median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def _by_model(costs: dict[str, float], most: int = 8) -> Chart:
    rows = sorted(costs.items(), key=lambda row: row[1], reverse=True)[:most]
    top = max((cost for _, cost in rows), default=0.0) or 1.0
    bars = [{"name": name, "cost": dollars(cost), "w": _at(cost / top * 100)} for name, cost in rows]
    told = f"{dollars(sum(costs.values()))} in all" if bars else "nothing was paid, or no price is known"
    return {"title": "Cost by model, the last hour", "told": told, "rows": bars, "kind": "costs"}


def stacked(
    title: str,
    told: str,
    names: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    word: Callable[[float], str],
    *,
    every: int | None = None,
) -> Chart:
    """Give bars at `names`, those of each of the series (a label, a value for each name) on the last one's.

    `word` writes a value. Every so many names is written, counted from the last; without it three are.
    """
    top = _top(max(map(sum, zip(*(values for _, values in series), strict=True)), default=0.0))
    step = _PLOT / max(1, len(names))
    bars = []
    for place, name in enumerate(names):
        y = float(_BASE)
        parts = [f"{word(values[place])} {label}" for label, values in series if values[place]]
        tip = f"{name}: {', '.join(parts)}"
        for number, (_, values) in enumerate(series):
            height = values[place] / top * (_BASE - TOP)
            if height > 0:
                y -= height
                x = LEFT + place * step + 1
                bars.append({"x": _at(x), "y": _at(y), "w": _at(step - 2), "h": _at(height), "n": number,
                             "tip": tip})  # fmt: skip
    legend = [label for label, _ in series]
    frame = _frame(names, top, word, every)
    return {"title": title, "told": told, "kind": "bars", "bars": bars, "legend": legend, **frame}


def lined(
    title: str,
    told: str,
    names: Sequence[str],
    series: Sequence[tuple[str, Sequence[tuple[int, float]]]],
    word: Callable[[float], str],
    *,
    every: int | None = None,
) -> Chart:
    """Give lines between the points of each of the series (a label, places among `names` and values)."""
    top = _top(max((value for _, points in series for _, value in points), default=0.0))
    step = _PLOT / max(1, len(names))
    dots = [
        {
            "x": _at(LEFT + (place + 0.5) * step),
            "y": _at(_BASE - value / top * (_BASE - TOP)),
            "n": number,
            "tip": f"{names[place]}: {word(value)}, {label}",
        }
        for number, (label, points) in enumerate(series)
        for place, value in points
    ]
    lines = [
        {"n": n, "points": " ".join(f"{d['x']},{d['y']}" for d in dots if d["n"] == n)}
        for n in range(len(series))
    ]
    legend = [label for label, _ in series]
    frame = _frame(names, top, word, every)
    drawn = {"dots": dots, "lines": lines, "legend": legend}
    return {"title": title, "told": told, "kind": "lines", **drawn, **frame}


def _frame(names: Sequence[str], top: float, word: Callable[[float], str], every: int | None) -> Chart:
    grid = [{"y": _at(_BASE - share * (_BASE - TOP)), "word": word(top * share)} for share in (0.0, 0.5, 1.0)]
    step = _PLOT / max(1, len(names))
    last = len(names) - 1
    written = range(last, -1, -every) if every else (0, last // 2, last)
    anchors = {} if every else {0: "start", last: "end"}
    ticks = [
        {
            "x": _at(LEFT + (place + 0.5) * step),
            "word": names[place],
            "anchor": anchors.get(place, "middle"),
        }
        for place in written
    ]
    return {"grid": grid, "ticks": ticks, "left": LEFT, "width": WIDTH, "height": HEIGHT}


def _top(most: float) -> float:
    """Give a round number at or above the greatest value, for the axis."""
    if most <= 0:
        return 1.0
    scale = 1.0
    while scale * 10 <= most:
        scale *= 10
    while scale > most:
        scale /= 10
    return next(scale * step for step in (1, 1.6, 2, 4, 5, 8, 10) if scale * step >= most * 0.999)


def _at(value: float) -> float:
    return round(value, 1)
