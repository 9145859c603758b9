"""What benchmarks share that ask several ways by turns: their children, their rounds, their report.

A round measures every way in every case, the next in the other order.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from rich.console import Console

from benchmarks import cells, report, targets
from benchmarks.check import wait_until_answers
from benchmarks.children import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.children import Child, Nursery
    from benchmarks.goals import Goal


class Named(Protocol):
    """A way of asking."""

    @property
    def name(self) -> str:
        """Its name in the results."""
        ...


W = TypeVar("W", bound=Named)


class Turns(Generic[W]):
    """One run: its children, and what was measured so far."""

    ways: Sequence[W]
    cases: Sequence[cells.Case]

    def __init__(self, nursery: Nursery, folder: Path, pace: cells.Pace, console: Console) -> None:
        self.nursery = nursery
        self.folder = folder
        self.pace = pace
        self.console = console
        self.machine = report.machine()
        self.upstream_port = free_port()
        self.results = cells.Results()
        self.running: dict[str, tuple[Child, int]] = {}
        self.complaints: list[str] = []

    def start_upstream(self) -> None:
        """Start the canned upstream, and what makes load."""
        command = [sys.executable, "-m", "benchmarks.upstream", str(self.upstream_port)]
        self.nursery.start("upstream", command, cwd=targets.ROOT)
        command = [sys.executable, "-m", "benchmarks.load"]
        self.nursery.start("load", command, cwd=targets.ROOT, piped_answers=True)
        wait_until_answers(self.upstream_port, "/count", 30)

    def measure(self, way: W, case: cells.Case) -> None:
        """Measure one way in one case."""
        raise NotImplementedError

    def rounds(self) -> None:
        """Measure all of them, as often as the pace says."""
        for turn in range(self.pace.rounds):
            for case in self.cases:
                self.console.print(f"round {turn + 1}: {case.name}")
                for way in self.ways[:: 1 - 2 * (turn % 2)]:
                    self.measure(way, case)

    def tell(self, kind: str, goals: list[Goal], path: Path | None, **more: Any) -> None:
        """Print what went wrong and how the goals were met, and write the figures down."""
        for way in self.ways:
            for case in self.cases:
                errors = self.results.errors(way.name, case.name)
                self.complaints += [f"{way.name}, {case.name}: {error}" for error in errors]
        for complaint in self.complaints:
            self.console.print(complaint, style="red", markup=False)
        self.console.print(report.goals_table(goals))
        told = {
            "machine": self.machine,
            "cells": self.results.cells,
            **more,
            "goals": [asdict(goal) for goal in goals],
            "complaints": self.complaints,
        }
        report.RESULTS.mkdir(exist_ok=True)
        path = path or report.RESULTS / f"{kind}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
        path.write_text(json.dumps(told, indent=1) + "\n")
        self.console.print(f"figures: {path}")


def console() -> Console:
    """Give where it is told; SIGTERM ends the run as Ctrl-C does, with its children."""
    signal.signal(signal.SIGTERM, _stop)
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False)


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)
