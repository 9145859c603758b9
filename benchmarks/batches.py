"""What a batch costs: `python -m benchmarks.batches [--items 100000] [--no-peers] [--json FILE]`.

1,000, 10,000 and so many requests against the canned upstream, which answers at once; beside a plain asyncio
script with the `anthropic` SDK at the same concurrency, and beside one Prefect task a request.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anthropic
import psutil  # type: ignore[import-untyped]  # it has no types of its own
from rich.console import Console
from rich.table import Table

from benchmarks import report, targets
from benchmarks.batch_peers import batch_requests
from benchmarks.bodies import CLIENT_KEY
from benchmarks.check import ask, upstream_count, wait_until_answers
from benchmarks.children import Nursery, child_environment, free_port
from benchmarks.goals import Goal, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

CONCURRENCY = 32
_SMALL = 1000
_MIDDLE = 10_000
_ROUNDS = 3
"""How often the small batch is made: one alone is over too soon to be measured."""

_NAIVE_ITEMS = 5000
_PREFECT_ITEMS = 100
_WARM_UP = 200
_LOOK = 0.1
_MB = 1 << 20


class Watched:
    """The process that executes batches, its memory sampled as long as this is open."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._samples: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._cpu = self.cpu()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def figures(self, items: int) -> dict[str, Any]:
        """Give CPU a request, the most memory, and how much the last quarter has over the second."""
        quarter = max(1, len(self._samples) // 4)
        early, late = self._samples[quarter : 2 * quarter] or self._samples, self._samples[-quarter:]
        return {
            "cpu_us_per_item": round(1e6 * (self.cpu() - self._cpu) / items, 1),
            "rss_first_mb": round(self._samples[0] / _MB, 1),
            "rss_most_mb": round(max(self._samples) / _MB, 1),
            "rss_growth_mb": round((statistics.median(late) - statistics.median(early)) / _MB, 1),
        }

    def _sample(self) -> None:
        while True:
            self._samples.append(self._process.memory_info().rss)
            if self._ended.wait(_LOOK):
                return


class Bench:
    """One run: the upstream, one Headgate, and what was measured so far."""

    def __init__(self, nursery: Nursery, folder: Path, console: Console) -> None:
        self.nursery = nursery
        self.folder = folder
        self.console = console
        self.upstream_port = free_port()
        self.port = 0
        self.client = anthropic.Anthropic(base_url="http://127.0.0.1:9", api_key=CLIENT_KEY)

    def start(self) -> None:
        """Start the upstream and Headgate, and have it answer one batch, before which it loads nothing."""
        command = [sys.executable, "-m", "benchmarks.upstream", str(self.upstream_port)]
        self.nursery.start("upstream", command, cwd=targets.ROOT)
        wait_until_answers(self.upstream_port, "/count", 10)
        made = targets.plan(targets.HEADGATE_OFF, self.folder, self.upstream_port)
        settings = {**made.environment, "HEADGATE_BATCH_CONCURRENCY": str(CONCURRENCY)}
        child = self.nursery.start(
            "headgate", made.command, environment=settings, port=made.port, cwd=made.folder
        )
        self.port = made.port
        wait_until_answers(made.port, "/health", 60, alive=child.alive)
        self.client = anthropic.Anthropic(
            base_url=f"http://127.0.0.1:{made.port}", api_key=CLIENT_KEY, timeout=600, max_retries=0
        )
        self._whole(_WARM_UP)

    def batch(self, items: int) -> dict[str, Any]:
        """Have one batch answered; raises RuntimeError if any request has not exactly one answer."""
        asked = upstream_count(self.upstream_port)
        with Watched(self._pid()) as watched:
            figures = self._whole(items)
            figures |= watched.figures(items)
        calls = upstream_count(self.upstream_port) - asked
        if calls != items:
            raise RuntimeError(f"{calls} calls upstream for {items} requests")
        size = sum(
            path.stat().st_size for path in (self.folder / "headgate-off" / "data").glob("headgate.db*")
        )
        return figures | {"store_mb": round(size / _MB, 1)}

    def _whole(self, items: int) -> dict[str, Any]:
        requests: Any = batch_requests(items)
        begun = time.perf_counter()
        batch = self.client.messages.batches.create(requests=requests)
        made = time.perf_counter()
        while (batch := self.client.messages.batches.retrieve(batch.id)).processing_status != "ended":
            time.sleep(_LOOK)
        ended = time.perf_counter()
        if batch.request_counts.succeeded != items:
            raise RuntimeError(f"not all of {items} requests succeeded: {batch.request_counts}")
        return {
            "items": items,
            "create_s": round(made - begun, 3),
            "seconds": round(ended - made, 3),
            "items_per_s": round(items / (ended - made), 1),
        }

    def _pid(self) -> int:
        pid = None
        while pid is None:
            time.sleep(_LOOK)
            pid = json.loads(ask(self.port, "GET", "/health/detailed")[1])["processes"]["batches"]["pid"]
        return int(pid)

    def peer(self, what: str, items: int) -> dict[str, Any]:
        """Measure what batches are compared with, with Headgate stopped."""
        command = [sys.executable, "-m", "benchmarks.batch_peers", what]
        command += ["--upstream", str(self.upstream_port), "--items", str(items)]
        with self.nursery.only({"upstream"}):
            said = subprocess.run(
                [*command, "--concurrency", str(CONCURRENCY)],
                cwd=targets.ROOT, env=child_environment({}), capture_output=True, text=True, timeout=600,
                check=True,
            )  # fmt: skip
        found: dict[str, Any] = json.loads(said.stdout.strip().splitlines()[-1])
        return found


def measure(bench: Bench, most: int, *, peers: bool) -> dict[str, Any]:
    """Measure everything; gives the figures."""
    bench.start()
    sizes = [_SMALL] * _ROUNDS + sorted({min(_MIDDLE, most), most} - {_SMALL})
    outcome: dict[str, Any] = {"machine": report.machine(), "concurrency": CONCURRENCY, "batches": []}
    for items in sizes:
        bench.console.print(f"a batch of {items:,}")
        outcome["batches"].append(bench.batch(items))
    for name, items in (("naive", _NAIVE_ITEMS), ("prefect", _PREFECT_ITEMS)) if peers else ():
        bench.console.print(f"{name}: {items:,} requests")
        outcome[name] = bench.peer(name, items)
    return outcome


def judge(outcome: dict[str, Any]) -> list[Goal]:
    """Hold the figures against the goals."""
    batches = outcome["batches"]
    small = statistics.median(one["cpu_us_per_item"] for one in batches if one["items"] == _SMALL)
    largest = max(batches, key=lambda one: one["items"])
    naive = outcome.get("naive", {}).get("items_per_s")
    said = f"{largest['items']:,} requests"
    return [
        at_least(
            f"{said}: requests/s against AsyncAnthropic's",
            largest["items_per_s"] / naive if naive else None,
            3,
            "x",
        ),
        at_most(f"{said}: CPU a request against 1,000's", largest["cpu_us_per_item"] / small, 1.3, "x"),
        at_most(f"{said}: memory of the process, throughout", largest["rss_most_mb"], 300, "MB"),
        at_most(f"{said}: memory, last quarter over the second", largest["rss_growth_mb"], 10, "MB"),
    ]


def table(outcome: dict[str, Any]) -> Table:
    shown = Table(title="Batches, an upstream that answers at once", title_justify="left")
    columns = (
        "", "requests", "made in s", "answered in s", "requests/s", "CPU µs/request", "MB first", "MB most",
        "MB growth", "store MB",
    )  # fmt: skip
    keys = (
        "items", "create_s", "seconds", "items_per_s", "cpu_us_per_item", "rss_first_mb", "rss_most_mb",
        "rss_growth_mb", "store_mb",
    )  # fmt: skip
    for name in columns:
        shown.add_column(name, justify="right" if name else "left")
    rows = [("headgate", one) for one in outcome["batches"]]
    rows += [(said, outcome[name]) for name, said in _PEERS.items() if name in outcome]
    for name, one in rows:
        shown.add_row(name, *(report.figure(one.get(key)) for key in keys))
    return shown


_PEERS = {"naive": "AsyncAnthropic and a semaphore", "prefect": "one Prefect task each"}


def write(outcome: dict[str, Any], goals: Sequence[Goal], path: Path | None) -> Path:
    """Write the figures; gives where."""
    report.RESULTS.mkdir(exist_ok=True)
    path = path or report.RESULTS / f"batches-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    path.write_text(json.dumps({**outcome, "goals": [asdict(goal) for goal in goals]}, indent=1) + "\n")
    return path


def main() -> int:
    """Measure, and print what came of it; the exit status is 0 even if goals are missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batches", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="requests of the largest batch")
    parser.add_argument("--no-peers", action="store_true", help="leave the asyncio script and Prefect out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 170)
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder, Nursery(Path(folder)) as nursery:
        outcome = measure(Bench(nursery, Path(folder), console), options.items, peers=not options.no_peers)
    goals = judge(outcome)
    console.print(table(outcome))
    console.print(report.goals_table(goals))
    console.print(f"figures: {write(outcome, goals, options.json)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
