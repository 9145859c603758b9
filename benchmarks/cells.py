"""The cells of the table: which cases there are, and how one is measured."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.bodies import DRIP
from benchmarks.check import upstream_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.children import Child, Nursery
    from benchmarks.targets import Column

_SETTLE_SECONDS = 1.0  # for what a stopped process has missed: its timers are all due at once
_ANSWER_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load."""

    size: str
    stream: bool
    concurrency: int
    drip: bool = False

    @property
    def name(self) -> str:
        kind = "drip" if self.drip else "stream" if self.stream else "plain"
        return f"{self.size} {kind} c={self.concurrency}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how often."""

    rounds: int
    alone_seconds: float
    crowd_seconds: float
    slow_seconds: float  # streams of slow peers, which take seconds each
    warm_up: float

    def seconds(self, case: Case, *, slow: bool) -> float:
        if slow and case.stream:
            return self.slow_seconds
        return self.alone_seconds if case.concurrency == 1 else self.crowd_seconds


FULL = Pace(rounds=3, alone_seconds=1.0, crowd_seconds=1.5, slow_seconds=3.0, warm_up=0.25)
QUICK = Pace(rounds=1, alone_seconds=0.5, crowd_seconds=0.8, slow_seconds=2.0, warm_up=0.15)

_CORE = [
    Case(size, stream, many) for size in ("small", "large") for stream in (False, True) for many in (1, 16)
]
CASES = [*_CORE, Case("small", stream=True, concurrency=16, drip=True)]
QUICK_CASES = [
    Case("small", stream=False, concurrency=1),
    Case("small", stream=False, concurrency=16),
    Case("large", stream=False, concurrency=16),
    Case("small", stream=True, concurrency=16),
]

Cell = dict[str, Any]


@dataclass(slots=True)
class Results:
    """Every round of every cell, by column and case."""

    cells: dict[str, dict[str, list[Cell]]] = field(default_factory=dict)

    def add(self, column: str, case: str, cell: Cell) -> None:
        self.cells.setdefault(column, {}).setdefault(case, []).append(cell)

    def columns(self) -> Iterator[str]:
        return iter(self.cells)

    def median(self, column: str, case: str, key: str) -> float | None:
        """Give the median of a cell's figure over the rounds; None if it was not measured or went wrong."""
        rounds = self.cells.get(column, {}).get(case, [])
        values = [float(cell[key]) for cell in rounds if key in cell and not cell.get("errors")]
        return statistics.median(values) if values else None

    def errors(self, column: str, case: str) -> list[str]:
        return [
            str(cell["first_error"])
            for cell in self.cells.get(column, {}).get(case, [])
            if cell.get("errors")
        ]


def order(column: Column, port: int, case: Case, pace: Pace, *, slow: bool) -> dict[str, Any]:
    """Say to the load what a cell asks."""
    return {
        "do": "load",
        "port": port,
        "path": column.path,
        "model": column.model + (DRIP if case.drip else ""),
        "size": case.size,
        "stream": case.stream,
        "concurrency": case.concurrency,
        "seconds": pace.seconds(case, slow=slow),
        "warm_up": pace.warm_up,
    }


def measure(
    nursery: Nursery,
    child: Child,
    asked: dict[str, Any],
    upstream_port: int,
    *,
    also_awake: frozenset[str] = frozenset(),
) -> Cell:
    """Measure one cell while every other target is frozen.

    Every answer must come from the upstream, or none, if the order says `cached`.
    """
    load, upstream = nursery.children["load"], nursery.children["upstream"]
    with nursery.only({"load", "upstream", child.name, *also_awake}):
        time.sleep(_SETTLE_SECONDS)
        before = child.usage(), load.usage().cpu, upstream.usage().cpu, upstream_count(upstream_port)
        began = time.perf_counter()
        cell = load.ask(asked, asked["seconds"] + asked["warm_up"] + _ANSWER_SECONDS)
        lasted = time.perf_counter() - began
        after = child.usage(), load.usage().cpu, upstream.usage().cpu, upstream_count(upstream_port)
    if "failed" in cell:
        return {"errors": 1, "first_error": cell["failed"]}
    answered = max(1, cell["total"])
    cell |= {
        "cpu_ms": 1e3 * (after[0].cpu - before[0].cpu) / answered,
        "web_cpu_ms": 1e3 * (after[0].web_cpu - before[0].web_cpu) / answered,
        "web_cpu_share": (after[0].web_cpu - before[0].web_cpu) / lasted,
        "load_cpu_share": (after[1] - before[1]) / lasted,
        "upstream_cpu_share": (after[2] - before[2]) / lasted,
        "reached_upstream": after[3] - before[3],
    }
    wrong = cell["reached_upstream"] if asked.get("cached") else cell["total"] - cell["reached_upstream"]
    if wrong > 0:
        cell["errors"] += 1
        cell["first_error"] = f"{cell['total']} answers, but {cell['reached_upstream']} asked upstream"
    return cell
