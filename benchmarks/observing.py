"""What observing costs: `python -m benchmarks.observing [--rounds N] [--json FILE]`.

One Headgate without log lines, metrics and traces, and others with them, asked by turns: a round measures
every one of them in every case, the next in the other order, and the ratios are medians over the rounds' own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks import cells, report, targets, turns
from benchmarks.bodies import CHAT_MODEL, request_body
from benchmarks.check import upstream_count, wait_until_answers
from benchmarks.children import Nursery, free_port
from benchmarks.goals import EVENTS, PLAIN, Goal, at_least

if TYPE_CHECKING:
    from benchmarks.cells import Results

CASES = (
    cells.Case("small", stream=False, concurrency=16),
    cells.Case("large", stream=False, concurrency=16),
    cells.Case("small", stream=True, concurrency=16),
)
_PACE = cells.Pace(rounds=5, alone_seconds=1.0, crowd_seconds=1.0, slow_seconds=2.0, warm_up=0.2)
_LEAST = 0.9
_LOADING = 3.0  # the first trace loads OpenTelemetry's SDK
_QUIET = {"HEADGATE_LOG_LEVEL": "error", "HEADGATE_REQUEST_LOG": "off"}
_UNCOUNTED = {"HEADGATE_METRICS": "off"}


@dataclass(frozen=True, slots=True)
class Way:
    """One Headgate: what it is called, and its settings. `traced` points it at the collector."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    traced: bool = False


OFF = Way("off", _QUIET | _UNCOUNTED)
ALL = Way("all", traced=True)
WAYS = (
    OFF,
    Way("logs", _UNCOUNTED),
    Way("metrics", _QUIET),
    Way("traces", _QUIET | _UNCOUNTED, traced=True),
    ALL,
)


class Bench(turns.Turns[Way]):
    """Headgates in all of the ways, and a collector."""

    ways = WAYS
    cases = CASES

    def start(self) -> None:
        self.start_upstream()
        self.collector_port = free_port()
        command = [sys.executable, "-m", "benchmarks.collector", str(self.collector_port)]
        self.nursery.start("collector", command, cwd=targets.ROOT)
        wait_until_answers(self.collector_port, "/count", 30)
        for way in WAYS:
            self.console.print(f"starting {way.name}")
            self._start(way)

    def _start(self, way: Way) -> None:
        folder = self.folder / way.name
        folder.mkdir()
        made = targets.plan(targets.HEADGATE_OFF, folder, self.upstream_port)
        settings = {**made.environment, **way.settings}
        if way.traced:
            settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{self.collector_port}"
        child = self.nursery.start(
            way.name, made.command, environment=settings, port=made.port, cwd=made.folder
        )
        wait_until_answers(made.port, "/health", 90, alive=child.alive)
        body = request_body("small", CHAT_MODEL, stream=False)
        wait_until_answers(made.port, "/v1/messages", 30, body, alive=child.alive)
        time.sleep(_LOADING)
        self.running[way.name] = child, made.port

    def measure(self, way: Way, case: cells.Case) -> None:
        child, port = self.running[way.name]
        column = targets.Column(way.name, "chat", "/v1/messages", CHAT_MODEL)
        asked = cells.order(column, port, case, self.pace, slow=False)
        cell = cells.measure(
            self.nursery, child, asked, self.upstream_port, also_awake=frozenset({"collector"})
        )
        self.results.add(way.name, case.name, cell)


def figure_of(case: cells.Case) -> str:
    return EVENTS if case.stream else PLAIN


def paired(results: Results, case: cells.Case, name: str, key: str) -> float | None:
    """Give the median over the rounds of a way's figure against that of `off` in the same round."""
    ours, off = results.cells[name][case.name], results.cells[OFF.name][case.name]
    ratios = [
        one[key] / other[key]
        for one, other in zip(ours, off, strict=True)
        if not (one.get("errors") or other.get("errors")) and other.get(key)
    ]
    return statistics.median(ratios) if ratios else None


def judge(results: Results) -> list[Goal]:
    return [
        at_least(
            f"all on, {case.name}, {figure_of(case).split('_')[0]}/s",
            paired(results, case, ALL.name, figure_of(case)),
            _LEAST,
            "x all off",
        )
        for case in CASES
    ]


def table(results: Results) -> Table:
    shown = Table(title="Medians over the rounds", title_justify="left")
    for heading in ("case", "on"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("req/s", "events/s", "p50 ms", "p99 ms", "web CPU ms/req", "x off", "web CPU x off"):
        shown.add_column(heading, justify="right")
    for case in CASES:
        for row, way in enumerate(WAYS):
            names = (PLAIN, EVENTS, "p50_ms", "p99_ms", "web_cpu_ms")
            figures = [results.median(way.name, case.name, name) for name in names]
            figures += [paired(results, case, way.name, key) for key in (figure_of(case), "web_cpu_ms")]
            shown.add_row("" if row else case.name, way.name, *map(report.figure, figures))
        shown.add_section()
    return shown


def main() -> int:
    """Run it; the exit status is 0 even if goals are missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observing", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 20), default=_PACE.rounds, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    console = turns.console()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder, Nursery(Path(folder)) as nursery:
        bench = Bench(nursery, Path(folder), replace(_PACE, rounds=options.rounds), console)
        bench.start()
        bench.rounds()
        traced = upstream_count(bench.collector_port)
    console.print(table(bench.results), f"the collector took {traced:,} bytes")
    if not traced:
        bench.complaints.append("the collector was sent nothing")
    bench.tell("observing", judge(bench.results), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
