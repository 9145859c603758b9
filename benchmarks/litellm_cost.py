"""LiteLLM's own cost apart from ours, in a web process that calls it.

py-spy samples the process from outside under load. A sample with a frame of the `litellm` package on its
stack is LiteLLM's, with all that it calls there: its HTTP client, the `openai` package, pydantic, and our
transport beneath it; so are its tasks and threads that go on when the answer is out. Everything else is the
rest of the web process: HTTP, our checks and conversions, the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from benchmarks import cells
from benchmarks.profile_web import IN_LITELLM, record

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.children import Child, Nursery
    from benchmarks.profile_web import Profile
    from benchmarks.targets import Target

_PACE = cells.Pace(1, 3.0, 3.0, 3.0, 0.3)
_CASES = [case for case in cells.QUICK_CASES if case.concurrency > 1]


def split(profile: Profile) -> dict[str, float]:
    """Give the CPU milliseconds of a request: all of the web process's, LiteLLM's, the rest."""
    samples = sum(profile.stacks.values())
    inside = sum(
        count for stack, count in profile.stacks.items() if any(IN_LITELLM in frame for frame in stack)
    )
    whole = float(profile.cell["web_cpu_ms"])
    litellm = whole * inside / samples if samples else 0.0
    return {"web_cpu_ms": whole, "litellm_ms": litellm, "rest_ms": whole - litellm, "samples": samples}


def measure(
    nursery: Nursery, running: tuple[Target, Child, int], upstream_port: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """Sample every column of a target under every case of the quick run; by column and case."""
    target, child, port = running
    found: dict[str, dict[str, Any]] = {}
    for column in target.columns:
        for case in filter(column.takes, _CASES):
            asked = cells.order(column, port, case, _PACE, slow=False)
            profile = record(nursery, child, asked, upstream_port, folder, full_names=True)
            found.setdefault(column.name, {})[case.name] = split(profile)
    return found


def table(found: dict[str, dict[str, Any]]) -> Table:
    shown = Table(title="CPU of the web process, ms a request (py-spy)", title_justify="left")
    for heading in ("case", "target/wire"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("all", "in LiteLLM", "the rest", "LiteLLM's share", "samples"):
        shown.add_column(heading, justify="right")
    for column, cases in found.items():
        for case, told in cases.items():
            share = told["litellm_ms"] / told["web_cpu_ms"] if told["web_cpu_ms"] else 0.0
            figures = [f"{told[name]:.2f}" for name in ("web_cpu_ms", "litellm_ms", "rest_ms")]
            shown.add_row(case, column, *figures, f"{share:.0%}", str(told["samples"]))
    return shown
