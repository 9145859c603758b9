"""A run's outcome, for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # it has no types of its own
from rich.table import Table

from benchmarks import litellm_cost
from benchmarks.goals import EVENTS, PLAIN, Goal, added_latency, ratio
from benchmarks.peers import LITELLM_VERSION, ROUTER_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmarks.cells import Case, Results

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("headgate", "uvicorn", "uvloop", "httptools", "aiohttp", "orjson", "prefect", "fastapi")


def _said_by(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def machine() -> dict[str, Any]:
    """Tell what ran where, so that two runs can be compared at all."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "node": _said_by(["node", "--version"]),
        "commit": _said_by(["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]),
        "packages": {name: _version(name) for name in _PACKAGES},
        "litellm": LITELLM_VERSION,
        "router": ROUTER_VERSION,
    }


def figure(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "·"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.{digits}f}"


def _times(value: float | None) -> str:
    return "·" if value is None else f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def load_table(results: Results, cases: Sequence[Case]) -> Table:
    """Show the medians of every cell and the ratios to the three others."""
    table = Table(title="Medians over the rounds; ratios within this run", title_justify="left")
    for heading in ("case", "target/wire"):
        table.add_column(heading, no_wrap=True)
    headings = ("req/s", "events/s", "p50 ms", "p99 ms", "first byte ms", "CPU ms/req", "web CPU ms/req")
    for heading in (*headings, "x bare", "x LiteLLM", "x router"):
        table.add_column(heading, justify="right")
    for case in cases:
        for row, column in enumerate(results.columns()):
            if case.name not in results.cells[column]:
                continue
            key = EVENTS if case.stream else PLAIN
            wire = column.partition("/")[2]
            figures = [
                results.median(column, case.name, name)
                for name in (PLAIN, EVENTS, "p50_ms", "p99_ms", "first_byte_p50_ms", "cpu_ms", "web_cpu_ms")
            ]
            others = (f"bare/{wire}", "litellm/chat", "router/chat")
            ratios = [ratio(results, case.name, key, column, other) for other in others]
            table.add_row("" if row else case.name, column, *map(figure, figures), *map(_times, ratios))
        table.add_section()
    return table


def life_table(results: Results, facts: dict[str, Any]) -> Table:
    """Show start, memory and latency of each target."""
    table = Table(title="Start, memory, idle streams, added latency", title_justify="left")
    table.add_column("target", no_wrap=True)
    for heading in (
        "/health s",
        "first message s",
        "web MB",
        "tree MB",
        "processes",
        "CPU s in all",
        "idle streams",
        "KB each (chat)",
        "KB each (messages)",
        "added p50 ms (chat)",
        "(messages)",
    ):
        table.add_column(heading, justify="right")
    for name, fact in facts.items():
        start, memory, idle = fact.get("start", {}), fact.get("memory", {}), fact.get("idle", {})
        row = [start.get("health_s"), start.get("message_s"), memory.get("web_mb"), memory.get("tree_mb")]
        row += [memory.get("processes"), memory.get("cpu_s"), idle.get("chat", {}).get("open")]
        row += [idle.get(wire, {}).get("web_kb_each") for wire in ("chat", "messages")]
        row += [added_latency(results, name, wire) for wire in ("chat", "messages")]
        table.add_row(name, *(figure(value) for value in row))
    return table


def goals_table(goals: Sequence[Goal]) -> Table:
    table = Table(title="Goals", title_justify="left")
    for heading in ("what", "to reach", "got", "", "reached"):
        table.add_column(heading, no_wrap=True)
    words = {True: "[green]yes[/]", False: "[red]no[/]", None: "not measured"}
    for goal in goals:
        table.add_row(goal.what, goal.want, figure(goal.got), goal.unit, words[goal.reached])
    return table


def show(
    console: Console,
    outcome: dict[str, Any],
    results: Results,
    cases: Sequence[Case],
    goals: Sequence[Goal],
) -> None:
    console.print(load_table(results, cases))
    console.print(life_table(results, outcome["targets"]))
    if found := outcome.get("litellm_cost"):
        console.print(litellm_cost.table(found))
    if runs := outcome.get("recording"):
        console.print("Recording:", json.dumps(runs))
    if express := outcome.get("express"):
        console.print("Express:", json.dumps(express))
    for column in results.columns():
        for case in cases:
            for error in results.errors(column, case.name):
                console.print(f"[red]{column}, {case.name}:[/] {error}", markup=True)
    for complaint in outcome["complaints"]:
        console.print(complaint, style="red", markup=False)
    if any(goal.reached is not None for goal in goals):
        console.print(goals_table(goals))


def write(outcome: dict[str, Any], results: Results, goals: Sequence[Goal], path: Path | None) -> Path:
    """Write everything measured; return where."""
    RESULTS.mkdir(exist_ok=True)
    path = path or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    whole = {**outcome, "goals": [asdict(goal) for goal in goals], "cells": results.cells}
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return path
