"""Run the benchmark: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import cells, lifecycle, litellm_cost, report, targets
from benchmarks.check import ask, wait_until_answers
from benchmarks.children import Child, Nursery, child_environment, free_port
from benchmarks.goals import judge
from benchmarks.peers import PeerMissing

if TYPE_CHECKING:
    from benchmarks.targets import Column, Target

_LONGEST_RUN = 25 * 60
_EXPRESS_SECONDS = 120


def _arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Headgate beside a bare proxy, LiteLLM's proxy and claude-code-router, on loopback.",
    )
    names = ", ".join(targets.TARGETS)
    parser.add_argument("--only", metavar="A,B", help=f"measure these targets only: {names}")
    parser.add_argument("--no-peers", action="store_true", help="leave LiteLLM and the router out")
    parser.add_argument("--quick", action="store_true", help="one short round of the cases in the goals")
    parser.add_argument(
        "--backends", action="store_true", help="a column per backend, and LiteLLM's cost apart, instead"
    )
    parser.add_argument("--rounds", type=int, choices=range(1, 10), metavar="N", help="rounds, 1 to 9")
    parser.add_argument("--no-idle", action="store_true", help="leave the idle streams out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--profile", action="store_true", help="profile Headgate's web process instead")
    return parser.parse_args(arguments)


class Bench:
    """One run: its children, what was measured so far, and how to go on."""

    def __init__(self, options: argparse.Namespace, nursery: Nursery, folder: Path, console: Console) -> None:
        self.options = options
        self.nursery = nursery
        self.folder = folder
        self.console = console
        pace = cells.QUICK if options.quick else cells.FULL
        self.pace = pace if options.rounds is None else cells.Pace(options.rounds, *_durations(pace))
        few = options.quick or options.backends
        self.cases = cells.QUICK_CASES if few else cells.CASES
        self.results = cells.Results()
        self.upstream_port = free_port()
        self.running: list[tuple[Target, Child, int]] = []
        self.outcome: dict[str, Any] = {"machine": report.machine(), "targets": {}, "complaints": []}

    def complain(self, what: str) -> None:
        self.outcome["complaints"].append(what)
        self.console.print(what, style="red", markup=False)

    def start_ends(self) -> None:
        python = sys.executable
        port = str(self.upstream_port)
        self.nursery.start("upstream", [python, "-m", "benchmarks.upstream", port], cwd=targets.ROOT)
        self.nursery.start("load", [python, "-m", "benchmarks.load"], cwd=targets.ROOT, piped_answers=True)
        wait_until_answers(self.upstream_port, "/count", 10)

    def start_target(self, target: Target) -> None:
        """Start one target alone on the machine, time it, check what it says."""
        try:
            made = targets.plan(target, self.folder, self.upstream_port)
        except PeerMissing as error:
            self.complain(f"{target.name} is left out: {error}")
            return
        with self.nursery.only({"upstream", "load"}):
            child = targets.start(target, made, self.nursery)
            try:
                fact = self.meet(target, child, made.port)
            except (TimeoutError, OSError) as error:
                self.complain(
                    f"{target.name} is left out: {error} (see its log: {self.log_tail(target.name)})"
                )
                self.nursery.end(target.name)
                return
        self.outcome["targets"][target.name] = fact
        self.running.append((target, child, made.port))

    def meet(self, target: Target, child: Child, port: int) -> dict[str, Any]:
        fact: dict[str, Any] = {}
        if target.name != "direct":
            fact["start"] = lifecycle.first_answers(target, child, port)
        if target.name == "headgate":
            self.outcome["recording"] = {"before": lifecycle.wait_for_prefect(port)}
        for complaint in lifecycle.check_columns(target, port):
            self.complain(complaint)
        fact["rest_s"] = lifecycle.rest(child)
        return fact

    def log_tail(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-600:] if path.exists() else ""

    def idle(self) -> None:
        for target, child, port in self.running:
            skipped = target.of_backends or (self.options.quick and target.is_peer)
            if target.name == "direct" or skipped:
                continue
            found = self.outcome["targets"][target.name].setdefault("idle", {})
            for column in target.columns:
                self.warm(child, column, port)
                found[column.wire] = lifecycle.idle_streams(
                    self.nursery, child, column, port, few=target.is_peer
                )

    def warm(self, child: Child, column: Column, port: int) -> None:
        case = cells.Case("small", stream=True, concurrency=16)
        asked = cells.order(column, port, case, cells.QUICK, slow=False)
        cells.measure(self.nursery, child, asked, self.upstream_port)

    def rounds(self) -> None:
        steps = [
            (target, child, port, column) for target, child, port in self.running for column in target.columns
        ]
        cells_each = sum(column.takes(case) for case in self.cases for *_, column in steps)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, auto_refresh=False) as progress:
            task = progress.add_task("rounds", total=self.pace.rounds * cells_each)
            for turn in range(self.pace.rounds):
                for case in self.cases:
                    if not self.console.is_terminal:  # where the bar is drawn at the end only
                        print(f"round {turn + 1}: {case.name}", flush=True)
                    for target, child, port, column in steps[turn % 2 :: 1] + steps[: turn % 2]:
                        if not column.takes(case):
                            continue
                        said = f"round {turn + 1}: {case.name}, {column.name}"
                        progress.update(task, description=said, refresh=True)
                        asked = cells.order(column, port, case, self.pace, slow=target.is_peer)
                        self.measure(child, column, case, asked)
                        progress.advance(task)

    def measure(self, child: Child, column: Column, case: cells.Case, asked: dict[str, Any]) -> None:
        try:
            cell = cells.measure(self.nursery, child, asked, self.upstream_port)
        except OSError as error:  # a late answer too
            cell = {"errors": 1, "first_error": repr(error)}
        if not child.alive():
            cell = {"errors": 1, "first_error": f"{child.name} has ended: {self.log_tail(child.name)}"}
        self.results.add(column.name, case.name, cell)

    def last_facts(self) -> None:
        for target, child, port in self.running:
            self.outcome["targets"][target.name]["memory"] = lifecycle.memory(child)
            if target.name == "headgate":
                recording = self.outcome["recording"]
                _, body = ask(port, "GET", "/health/detailed")
                recording["after"] = json.loads(body)
                recording["runs_in_prefect"] = lifecycle.recorded_runs(recording["after"])

    def litellm_cost(self) -> None:
        for one in self.running:
            if one[0] is targets.BACKENDS_LITELLM:
                self.console.print("LiteLLM's cost apart from ours")
                try:
                    self.outcome["litellm_cost"] = litellm_cost.measure(
                        self.nursery, one, self.upstream_port, self.folder
                    )
                except (PeerMissing, RuntimeError, OSError) as error:
                    self.complain(f"LiteLLM's cost is left out: {error}")

    def run(self, chosen: list[Target]) -> None:
        """Measure everything that was asked for."""
        self.start_ends()
        for target in chosen:
            self.console.print(f"starting {target.name}")
            self.start_target(target)
        if not self.options.no_idle and not self.options.backends:
            self.console.print("idle streams")
            self.idle()
        self.rounds()
        self.litellm_cost()
        self.last_facts()


def _durations(pace: cells.Pace) -> tuple[float, float, float, float]:
    return pace.alone_seconds, pace.crowd_seconds, pace.slow_seconds, pace.warm_up


def _express_cost() -> dict[str, Any] | None:
    """Run the express benchmark in a process of its own, if it is there; its last line is JSON."""
    if importlib.util.find_spec("benchmarks.express_cost") is None:
        return None
    command = [sys.executable, "-m", "benchmarks.express_cost", "--json"]
    try:
        said = subprocess.run(
            command,
            cwd=targets.ROOT,
            env=child_environment({}),
            capture_output=True,
            text=True,
            timeout=_EXPRESS_SECONDS,
            check=True,
        ).stdout
        found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return {"failed": str(error)}
    return found


def _choose(options: argparse.Namespace) -> list[Target]:
    if options.only:
        names = options.only.split(",")
    elif options.backends:
        names = ["direct", "bare", "backends", "backends-litellm"]
    else:
        names = [name for name, target in targets.TARGETS.items() if not target.of_backends]
    if unknown := set(names) - set(targets.TARGETS):
        raise SystemExit(f"unknown target: {', '.join(sorted(unknown))}; known: {', '.join(targets.TARGETS)}")
    chosen = [target for name, target in targets.TARGETS.items() if name in names]
    if options.quick and not options.only:
        chosen.remove(targets.ROUTER_QUIET)
    return [target for target in chosen if not (options.no_peers and target.is_peer)]


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536) if most > 0 else 65_536, most))


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Run what the command line asks for; the exit status is 0 even if goals are missed."""
    options = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 170)
    signal.signal(signal.SIGTERM, _stop)
    _allow_many_files()
    chosen = _choose(options)
    if options.profile:
        from benchmarks.profile_web import profile

        return profile(console, quick=options.quick)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        with Nursery(Path(folder)) as nursery:
            bench = Bench(options, nursery, Path(folder), console)
            bench.run(chosen)
        if any(target.name == "headgate" for target in chosen):
            console.print("express beside Prefect's own engine")
            bench.outcome["express"] = _express_cost()
    goals = judge(bench.results, bench.outcome["targets"], bench.outcome.get("express"))
    bench.outcome["seconds"] = round(time.perf_counter() - began, 1)
    report.show(console, bench.outcome, bench.results, bench.cases, goals)
    path = report.write(bench.outcome, bench.results, goals, options.json)
    console.print(f"{bench.outcome['seconds']:.0f} s; figures: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
