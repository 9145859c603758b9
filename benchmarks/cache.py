"""What a hit of the answer cache costs: `python -m benchmarks.cache [--rounds N] [--no-peers] [--json FILE]`.

Beside a miss, a bare proxy's call with the same body, LiteLLM's proxy answering from its own cache, and
diskcache by itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from benchmarks import cells, lifecycle, peers, report, targets, turns
from benchmarks.bodies import CHAT_MODEL
from benchmarks.cache_lookup import FEW, MANY, lookups
from benchmarks.check import wait_until_answers
from benchmarks.children import Nursery, free_port
from benchmarks.goals import EVENTS, PLAIN, Goal, at_least, at_most, ratio

if TYPE_CHECKING:
    from benchmarks.cells import Results

CASES = [
    *(cells.Case(size, stream=False, concurrency=many) for size in ("small", "large") for many in (1, 16)),
    cells.Case("long", stream=False, concurrency=16),  # LiteLLM caches no conversation of five messages
    *(cells.Case("small", stream=True, concurrency=many) for many in (1, 16)),
]
_PACE = cells.Pace(rounds=2, alone_seconds=1.0, crowd_seconds=1.0, slow_seconds=2.0, warm_up=0.2)
_MESSAGES = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Way:
    """One row: a target, what is sent to it besides the request, and whether its cache must answer.

    `first` is sent along before, where that is how an answer of the same form comes to be stored.
    """

    name: str
    target: str
    cached: bool
    headers: tuple[tuple[str, str], ...] = ()
    path: str = _MESSAGES
    first: tuple[tuple[str, str], ...] = ()


_REFRESH = (("x-headgate-cache", "refresh"),)
WAYS = (
    Way("bare", "bare", cached=False, path="/api/v1/chat/completions"),
    Way("headgate hit", "headgate", cached=True, first=_REFRESH),
    Way("headgate miss", "headgate", cached=False, headers=_REFRESH),
    Way("litellm hit, memory", "litellm-memory", cached=True),
    Way("litellm hit, disk", "litellm-disk", cached=True),
)


def _plan(name: str, folder: Path, upstream_port: int) -> targets.Plan:
    folder.mkdir()
    upstream = f"http://127.0.0.1:{upstream_port}"
    match name:
        case "headgate":
            made = targets.plan(targets.HEADGATE_ON, folder, upstream_port)
            return replace(made, environment={**made.environment, "HEADGATE_CACHE": "on"})
        case "litellm-memory":
            return targets.litellm_plan(folder, upstream, free_port(), {"type": "local"})
        case "litellm-disk":
            peers.add_diskcache()
            cache = {"type": "disk", "disk_cache_dir": str(folder / "cache")}
            return targets.litellm_plan(folder, upstream, free_port(), cache)
        case _:
            return targets.plan(targets.BARE, folder, upstream_port)


def _known(name: str) -> targets.Target:
    return {"bare": targets.BARE, "headgate": targets.HEADGATE_ON}.get(name, targets.LITELLM)


class Bench(turns.Turns[Way]):
    """A Headgate, a bare proxy and LiteLLM's proxies."""

    ways = WAYS
    cases = CASES

    def start(self, names: list[str]) -> None:
        self.start_upstream()
        for name in names:
            self.console.print(f"starting {name}")
            try:
                self._start(name)
            except (peers.PeerMissing, TimeoutError, OSError) as error:
                self.complaints.append(f"{name} is left out: {error}")
                self.nursery.end(name)

    def _start(self, name: str) -> None:
        made = _plan(name, self.folder / name, self.upstream_port)
        known = _known(name)
        child = self.nursery.start(
            name, made.command, environment=made.environment, port=made.port, cwd=made.folder
        )
        wait_until_answers(made.port, known.health, known.start_seconds, alive=child.alive)
        if name == "headgate":
            lifecycle.wait_for_prefect(made.port)
        self.running[name] = child, made.port

    def measure(self, way: Way, case: cells.Case) -> None:
        if way.target not in self.running:
            return
        child, port = self.running[way.target]
        column = targets.Column(way.target, "chat", way.path, CHAT_MODEL)
        slow = way.target.startswith("litellm")
        asked = cells.order(column, port, case, self.pace, slow=slow) | {"headers": dict(way.headers)}
        try:
            if way.cached:  # so that the answer is stored
                short = {"seconds": 0.1, "warm_up": 0.0, "concurrency": 1, "headers": dict(way.first)}
                cells.measure(self.nursery, child, asked | short, self.upstream_port)
                time.sleep(0.5)
            cell = cells.measure(self.nursery, child, asked | {"cached": way.cached}, self.upstream_port)
        except OSError as error:
            cell = {"errors": 1, "first_error": repr(error)}
        self.results.add(way.name, case.name, cell)


def judge(results: Results, found: dict[str, Any]) -> list[Goal]:
    """Hold a run against the goals of the cache."""
    got = ratio(results, "large plain c=1", "p50_ms", "headgate hit", "bare")
    goals = [at_most("a hit's p50 latency, large plain c=1", got, 1.5, "x a bare call")]
    for case, key in (
        ("small plain c=16", PLAIN),
        ("long plain c=16", PLAIN),
        ("small stream c=16", EVENTS),
    ):
        for store in ("memory", "disk"):
            got = ratio(results, case, key, "headgate hit", f"litellm hit, {store}")
            goals.append(at_least(f"hits: {case}, {key.split('_')[0]}/s", got, 30, f"x LiteLLM's, {store}"))
    grown = _p50(found, "cache", MANY) / _p50(found, "cache", FEW)
    goals.append(at_most(f"a look-up in {MANY:,} entries", grown, 1.5, f"x one in {FEW}"))
    return goals


def _p50(found: dict[str, Any], what: str, entries: int) -> float:
    return float(found[f"{what}, {entries:,} entries"]["p50_us"])


def _hits_table(results: Results) -> Table:
    table = Table(title="Medians over the rounds", title_justify="left")
    for heading in ("case", "answered by"):
        table.add_column(heading, no_wrap=True)
    names = (PLAIN, EVENTS, "p50_ms", "p99_ms", "first_byte_p50_ms", "web_cpu_ms")
    for heading in ("req/s", "events/s", "p50 ms", "p99 ms", "first byte ms", "web CPU ms/req", "p50 x bare"):
        table.add_column(heading, justify="right")
    for case in CASES:
        for row, way in enumerate(results.columns()):
            figures = [results.median(way, case.name, name) for name in names]
            times = ratio(results, case.name, "p50_ms", way, "bare")
            shown = (report.figure(value) for value in (*figures, times))
            table.add_row("" if row else case.name, way, *shown)
        table.add_section()
    return table


def _lookup_table(found: dict[str, Any]) -> Table:
    table = Table(title="Look-ups without HTTP", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("p50 µs", "p99 µs"):
        table.add_column(heading, justify="right")
    for name, times in found.items():
        table.add_row(name, report.figure(times["p50_us"]), report.figure(times["p99_us"]))
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 10), default=_PACE.rounds, metavar="N")
    parser.add_argument("--no-peers", action="store_true", help="leave LiteLLM out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    return parser.parse_args()


def main() -> int:
    """Run it; the exit status is 0 even if goals are missed."""
    options = _arguments()
    console = turns.console()
    console.print("look-ups")
    found = lookups()
    names = ["bare", "headgate", *([] if options.no_peers else ["litellm-memory", "litellm-disk"])]
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder, Nursery(Path(folder)) as nursery:
        bench = Bench(nursery, Path(folder), replace(_PACE, rounds=options.rounds), console)
        bench.start(names)
        bench.rounds()
    console.print(_hits_table(bench.results), _lookup_table(found))
    bench.tell("cache", judge(bench.results, found), options.json, lookups=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
