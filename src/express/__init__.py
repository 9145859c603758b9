"""Runs Prefect flows fast, and records them afterwards.

A *step* is a `prefect.Task` and a *pipeline* a `prefect.Flow`. Called plainly they are just
that. Called through a `Run` their functions run directly, and the run keeps what Prefect would
have recorded: each step's name, times, state, error, and which steps fed it. A `Sink` carries
that to the recorder process, which writes it to a Prefect server.

Importing Prefect costs two seconds and 60 MB, so what needs it is loaded on first use: the
recorder process imports this package and never touches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from express.runs import MemorySink, Run, RunState, Sink, StepRecord, current_run, run
from express.summaries import Summarised, summary_of

if TYPE_CHECKING:
    from express.plain import PlainRun, run_plainly
    from express.steps import Pipeline, Step, pipeline, step

__all__ = [
    "MemorySink",
    "Pipeline",
    "PlainRun",
    "Run",
    "RunState",
    "Sink",
    "Step",
    "StepRecord",
    "Summarised",
    "current_run",
    "pipeline",
    "run",
    "run_plainly",
    "step",
    "summary_of",
]


def __getattr__(name: str) -> Any:
    """Load the halves that need Prefect when somebody asks for them."""
    if name in {"Pipeline", "Step", "pipeline", "step"}:
        from express import steps as module  # noqa: PLC0415 - see above
    elif name in {"PlainRun", "run_plainly"}:
        from express import plain as module  # type: ignore[no-redef]  # noqa: PLC0415 - see above
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)
