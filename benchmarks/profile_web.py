"""Where Headgate's web process spends its time per request: `python -m benchmarks.profile_web --help`.

py-spy samples the process from outside while the load runs; the samples are told as microseconds of CPU a
request, by function (where the time is spent) and by the file that spends it. py-spy is installed on demand
into the cache folder of the peers; it needs the right to trace a child (root, or yama's ptrace_scope at 0).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks import cells, lifecycle, targets
from benchmarks.check import wait_until_answers
from benchmarks.children import Child, Nursery, free_port
from benchmarks.peers import cache_folder, run_installer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PY_SPY = "0.4.3"
_RATE = 250
IN_LITELLM = "/litellm/"  # in a frame of LiteLLM's own, with full names
_SECONDS = 4.0


def _py_spy() -> Path:
    folder = cache_folder() / f"py-spy-{_PY_SPY}"
    program = folder / "bin" / "py-spy"
    if not program.exists():
        run_installer([sys.executable, "-m", "venv", "--clear", str(folder)], cache_folder())
        run_installer([str(folder / "bin" / "pip"), "install", "-q", f"py-spy=={_PY_SPY}"], folder)
    return program


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples by stack, and what the load saw meanwhile."""

    stacks: Counter[tuple[str, ...]]
    cell: dict[str, Any]

    @property
    def microseconds(self) -> float:
        """What one sample is worth in CPU microseconds of one request."""
        samples = sum(self.stacks.values())
        return 1e3 * float(self.cell["web_cpu_ms"]) / samples if samples else 0.0

    def own(self) -> Counter[str]:
        """Samples by the innermost function."""
        counted: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            counted[_without_line(stack[-1])] += count
        return counted

    def whole(self) -> Counter[str]:
        """Samples by every function on the stack."""
        counted: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            for name in {_without_line(frame) for frame in stack}:
                counted[name] += count
        return counted

    def files(self) -> Counter[str]:
        """Samples by the innermost function's file."""
        counted: Counter[str] = Counter()
        for name, count in self.own().items():
            counted[name.partition("(")[2].rstrip(")")] += count
        return counted


def _without_line(frame: str) -> str:
    name, _, line = frame.rpartition(":")
    return f"{name})" if line.rstrip(")").isdigit() else frame


def _stacks(lines: Iterable[str]) -> Counter[tuple[str, ...]]:
    counted: Counter[tuple[str, ...]] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        # Threads are left out, but for LiteLLM's: ours waits for the parent's end, which looks like work.
        if count.isdigit() and (not stack.startswith("Thread._bootstrap") or IN_LITELLM in stack):
            counted[tuple(stack.split(";"))] += int(count)
    return counted


def record(
    nursery: Nursery,
    child: Child,
    asked: dict[str, Any],
    upstream_port: int,
    folder: Path,
    *,
    full_names: bool = False,
) -> Profile:
    """Sample the web process for the time of one cell.

    py-spy cuts the folders off a file's name up to the first that is no package, unless `full_names`.
    """
    web = child.find_web()
    if web is None:
        raise RuntimeError(f"{child.name} serves nothing")
    raw = folder / "stacks.raw"
    command = [str(_py_spy()), "record", "-p", str(web.pid), "-r", str(_RATE), "-f", "raw", "-o", str(raw)]
    command += ["-d", str(round(asked["seconds"]))]
    command += ["--full-filenames"] if full_names else []
    sampling = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        cell = cells.measure(nursery, child, asked, upstream_port)
        _, said = sampling.communicate(timeout=30)
    finally:
        sampling.kill()
    if not raw.exists():
        raise RuntimeError(f"py-spy: {said.strip()[-400:]}")
    return Profile(_stacks(raw.read_text().splitlines()), cell)


def _table(title: str, counted: Counter[str], profile: Profile, rows: int) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("us/request", justify="right")
    table.add_column("share", justify="right")
    table.add_column("where", no_wrap=True)
    samples = max(1, sum(profile.stacks.values()))
    for name, count in counted.most_common(rows):
        table.add_row(f"{count * profile.microseconds:,.1f}", f"{count / samples:.1%}", name)
    return table


def _show(console: Console, name: str, profile: Profile, rows: int) -> None:
    cell = profile.cell
    console.rule(name)
    console.print(
        f"{cell['requests_per_s']:,.0f} requests/s, web process {cell['web_cpu_ms']:.3f} ms CPU a request, "
        f"busy {cell['web_cpu_share']:.0%}; {sum(profile.stacks.values())} samples"
    )
    console.print(_table("own time", profile.own(), profile, rows))
    console.print(_table("with what it calls", profile.whole(), profile, rows))
    console.print(_table("own time by file", profile.files(), profile, rows))


def _cases(quick: bool) -> Sequence[cells.Case]:
    return cells.QUICK_CASES[1:] if quick else [case for case in cells.CASES if case.concurrency > 1]


def profile(
    console: Console,
    *,
    quick: bool,
    target: str = "headgate-off",
    wires: Sequence[str] = ("chat",),
    rows: int = 25,
    cached: bool = False,
) -> int:
    """Start one target, load it case by case, tell where its web process spent its time.

    With `cached` it answers from Headgate's cache, all but the first request.
    """
    chosen = targets.TARGETS[target]
    upstream_port = free_port()
    python = sys.executable
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = Path(name)
        with Nursery(folder) as nursery:
            nursery.start(
                "upstream", [python, "-m", "benchmarks.upstream", str(upstream_port)], cwd=targets.ROOT
            )
            nursery.start("load", [python, "-m", "benchmarks.load"], cwd=targets.ROOT, piped_answers=True)
            wait_until_answers(upstream_port, "/count", 10)
            made = targets.plan(chosen, folder, upstream_port)
            made = replace(
                made, environment={**made.environment, "HEADGATE_CACHE": "on" if cached else "off"}
            )
            child = targets.start(chosen, made, nursery)
            lifecycle.first_answers(chosen, child, made.port)
            pace = cells.Pace(1, _SECONDS, _SECONDS, _SECONDS, 0.5)
            for column in chosen.columns:
                for case in _cases(quick) if column.wire in wires else ():
                    asked = cells.order(column, made.port, case, pace, slow=False)
                    found = record(nursery, child, asked, upstream_port, folder)
                    _show(console, f"{case.name}, {column.name}", found, rows)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_web", description=__doc__)
    parser.add_argument("--target", default="headgate-off", help="headgate, headgate-off or bare")
    parser.add_argument("--wires", default="chat", help="chat, messages, or both with a comma between")
    parser.add_argument("--quick", action="store_true", help="three cases only")
    parser.add_argument("--cached", action="store_true", help="answer from Headgate's cache")
    parser.add_argument("--rows", type=int, default=25)
    options = parser.parse_args()
    wires = options.wires.split(",")
    return profile(
        Console(width=150),
        quick=options.quick,
        target=options.target,
        wires=wires,
        rows=options.rows,
        cached=options.cached,
    )


if __name__ == "__main__":
    sys.exit(main())
