"""One run of a pipeline: what Prefect would have recorded of it, kept while it happens."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from contextvars import ContextVar
from time import time_ns as _now
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast
from uuid import UUID

from express.feeds import Feeds
from express.summaries import error_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

P = ParamSpec("P")
R = TypeVar("R")

RunState: TypeAlias = Literal["completed", "failed", "cancelled"]
StepState: TypeAlias = Literal["running", "completed", "failed", "cancelled"]
LogLine: TypeAlias = tuple[int, int, str]  # nanoseconds since the epoch, logging level, message

LOG_LINES = 200

_current: ContextVar[Run | None] = ContextVar("express_run", default=None)


_random = random.Random()  # noqa: S311 - ids are unique, not secret; uuid4 asks the kernel for each
_VERSION_4 = 0x4000_8000_0000_0000_0000
_NOT_VERSION = ~0xF000_C000_0000_0000_0000


def _new_id() -> UUID:
    """Make a random (version 4) UUID."""
    return UUID(int=_random.getrandbits(128) & _NOT_VERSION | _VERSION_4)


def current_run() -> Run | None:
    """Give the run whose function is under way here, if an express run is."""
    return _current.get()


class Sink(Protocol):
    """Where runs go to be recorded. Both calls return at once and never raise."""

    def begin(self, run: Run) -> bool | None:
        """Take a run's start; False if the run will be of interest only if it fails."""
        ...

    def end(self, run: Run) -> None: ...


class StepRecord:
    """One step of a run. Times are nanoseconds since the epoch; `end` is 0 while it runs.

    `name` is `step-0`, `step-1` for a repeat, as Prefect names task runs. `inputs` are the names
    of the steps whose results were among its arguments.
    """

    __slots__ = ("end", "error", "inputs", "name", "start", "state")

    def __init__(self, name: str, start: int, inputs: tuple[str, ...]) -> None:
        self.name = name
        self.start = start
        self.end = 0
        self.state: StepState = "running"
        self.error: str | None = None
        self.inputs = inputs

    def __repr__(self) -> str:
        return f"StepRecord({self.name}, {self.state}, inputs={self.inputs})"

    def close(self, state: RunState = "completed", error: BaseException | None = None) -> None:
        """End the step, once: later calls change nothing."""
        if self.end:
            return
        self.end = _now()
        self.state = state
        if error is not None:
            self.error = error_text(error)

    def fail(self, error: BaseException) -> None:
        """End the step by what it raised: a cancellation is one, everything else a failure."""
        cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
        self.close("cancelled" if cancelled else "failed", error)


class Run:
    """One run: `call` runs the pipeline's function, `finish` ends the run when all is done.

    A streaming answer outlives its function, so `call` leaves the run open: `open_step` records
    what still happens, and `finish` closes. `tags`, `parameters` and `summary` are shown as they
    are given: sizes, counts and names, never a prompt or a key. `keep` says that the run is to be
    recorded even when most are left out. `artifact` is a key of its own for the summary's table, so that
    the tables of several runs show as versions of one artifact. `clean` takes out of errors' texts and log
    lines what must not be shown.
    """

    __slots__ = (
        "_answered_by", "_calling", "_clean", "_counts", "_logs", "_told", "_trace", "artifact", "begun",
        "end", "error", "id", "keep", "name", "parameters", "pipeline_name", "sink", "start", "state",
        "steps", "summary", "tags",
    )  # fmt: skip

    def __init__(
        self,
        pipeline_name: str,
        *,
        name: str,
        tags: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        sink: Sink | None = None,
        keep: bool = False,
        artifact: str | None = None,
        clean: Callable[[str], str] | None = None,
    ) -> None:
        self._clean = clean
        self.id = _new_id()
        self.keep = keep
        self.artifact = artifact
        self.pipeline_name = pipeline_name
        self.name = name
        self.tags: tuple[str, ...] = tuple(tags)
        self.parameters: Mapping[str, Any] = parameters or {}
        self.sink = sink
        self.start = _now()
        self.end = 0
        self.begun = False
        self.state: RunState | None = None
        self.error: str | None = None
        self.summary: Mapping[str, Any] = {}
        self.steps: list[StepRecord] = []
        self._logs: list[LogLine] = []
        self._counts: dict[str, int] = {}
        self._trace: list[tuple[Any, ...]] = []
        self._told = False
        self._answered_by: tuple[str, ...] = ()
        self._calling = False

    def __repr__(self) -> str:
        return f"Run({self.name}, {self.state or 'running'}, steps={self.steps})"

    @property
    def logs(self) -> Sequence[LogLine]:
        return self._logs

    async def call(self, pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the pipeline's function under this run; give or raise what it does."""
        self.begin()
        token = _current.set(self)
        self._calling = True
        try:
            result = pipeline.fn(*args, **kwargs)
            if pipeline.isasync:
                result = await cast("Awaitable[Any]", result)
        except BaseException:
            self._resolve()
            raise
        else:
            if self._told:
                self._answered_by = self._resolve().of((result,), {})
            return result
        finally:
            # a coroutine that is closed by the garbage collector ends in a context not its own
            with suppress(ValueError):
                _current.reset(token)
            self._calling = False
            # the results may be large and the stream long: hold none of them beyond the function
            self._trace.clear()

    def _resolve(self) -> Feeds:
        """Say of each step which others fed it. Only at the end, and only of runs that somebody will see."""
        feeds = Feeds()
        for record, *seen in self._trace:
            if len(seen) == 2:
                record.inputs = feeds.of(*seen)
            else:
                feeds.add(seen[0], record.name)
        return feeds

    def begin(self) -> None:
        """Tell the sink that the run has started; `call` does this too."""
        if not self.begun:
            self.begun = True
            self._told = self.sink is not None and self.sink.begin(self) is not False

    def open_step(self, name: str, inputs: tuple[str, ...] | None = None) -> StepRecord:
        """Start a step that no function call stands for; the caller closes it.

        Without `inputs` it follows on the steps that made what the pipeline's function returned.
        """
        return self._opened(name, self._answered_by if inputs is None else inputs)

    def enter(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> StepRecord:
        """Start the record of a step called with these arguments."""
        record = self._opened(name, ())
        if self._calling:
            self._trace.append((record, args, kwargs))
        return record

    def leave(self, record: StepRecord, result: object) -> None:
        """End the record of a step that returned `result`."""
        record.end = _now()
        record.state = "completed"
        if self._calling:
            self._trace.append((record, result))

    def _opened(self, name: str, inputs: tuple[str, ...]) -> StepRecord:
        counts = self._counts
        counts[name] = count = counts.get(name, -1) + 1
        record = StepRecord(f"{name}-{count}", _now(), inputs)
        self.steps.append(record)
        return record

    def _clean_texts(self, clean: Callable[[str], str]) -> None:
        """Clean what failures left behind; of a run without any there is nothing to clean."""
        failed = [record for record in self.steps if record.error is not None]
        for record in failed:
            record.error = clean(record.error or "")
        if self.error is not None:
            self.error = clean(self.error)
        if failed or self.error is not None:
            self._logs = [(at, level, clean(line)) for at, level, line in self._logs]

    def log(self, message: str, level: int = 20) -> None:
        """Add a line to what the run shows as its log; level as in `logging`."""
        if len(self._logs) < LOG_LINES:
            self._logs.append((_now(), level, message))

    def finish(
        self,
        state: RunState,
        *,
        error: BaseException | None = None,
        tags: Sequence[str] = (),
        summary: Mapping[str, Any] | None = None,
        logs: Sequence[str] = (),
    ) -> None:
        """End the run, once: later calls change nothing. `tags` are added to those it has.

        Steps still open end with the run and in its state.
        """
        if self.state is not None:
            return
        self.begin()
        for record in self.steps:
            record.close(state)
        for line in logs:
            self.log(line)
        self.end = _now()
        self.error = None if error is None else error_text(error)
        if self._clean is not None:
            self._clean_texts(self._clean)
            self._clean = None  # it may hold the request, and who records the run holds the run for long
        self.tags = tuple(dict.fromkeys((*self.tags, *tags)))
        self.summary = summary or {}
        self.state = state
        if self.sink is not None:
            self.sink.end(self)


class MemorySink:
    """Keeps runs in lists, for tests."""

    def __init__(self) -> None:
        self.begun: list[Run] = []
        self.ended: list[Run] = []

    def begin(self, run: Run) -> bool | None:
        self.begun.append(run)
        return None

    def end(self, run: Run) -> None:
        self.ended.append(run)


async def run(pipeline: Any, *args: Any, run: Run, **kwargs: Any) -> Any:
    """Call `pipeline` under `run`; the run stays open."""
    return await run.call(pipeline, *args, **kwargs)
