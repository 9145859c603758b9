"""The other engine: a run whose pipeline and steps Prefect itself runs, slowly."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context, copy_context
from time import time_ns
from typing import TYPE_CHECKING, Any, cast

import orjson
from prefect import tags as prefect_tags
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.utilities.callables import get_call_parameters

from express.recorder import frames, payloads
from express.runs import Run, StepRecord, _current
from express.steps import Pipeline, Step, _clean, ended_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from prefect.client.orchestration import PrefectClient

_log = logging.getLogger("headgate.express")


class PlainRun(Run):
    """A run under Prefect's own engine; used as `Run` is, and shown by Prefect as an express run is.

    Prefect runs a flow that calls the pipeline's function, hands over what it gives or raises at once, and
    then waits for `finish`: the flow run is as long as the run, and ends in its state. A step that
    `open_step` starts is a task run that waits for its record's end. Prefect is given neither results nor
    errors, only states with cleaned texts: it would pickle an error to its disk, prompts and all.

    `engines` keeps Prefect's side of the run while it is under way; it outlasts `finish` by some calls.
    """

    def __init__(
        self,
        pipeline_name: str,
        *,
        name: str,
        tags: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        clean: Callable[[str], str] | None = None,
        engines: set[asyncio.Task[None]] | None = None,
    ) -> None:
        super().__init__(pipeline_name, name=name, tags=tags, parameters=parameters, clean=clean)
        self._cleaning = clean or str  # `finish` lets go of the other one, steps may still end
        self._engines = engines if engines is not None else set()
        self._engine: asyncio.Task[None] | None = None
        self._work: asyncio.Task[Any] | None = None
        self._ended = asyncio.Event()
        self._gone = False
        self._answer: Any = None
        self._inside: Context | None = None
        self._followed: list[asyncio.Task[None]] = []

    async def call(self, pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        """Have Prefect run the pipeline; give or raise what its function does, as soon as it does."""
        self.begin()
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._engine = engine = asyncio.create_task(self._run(pipeline, args, kwargs, answered))
        self._engines.add(engine)
        engine.add_done_callback(self._let_go)
        try:
            await asyncio.wait({engine, answered}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._leave(answered)
            raise
        if not answered.done():
            await engine  # it did not come so far as to call the function, and says why
        return answered.result()

    async def settled(self) -> None:
        """Wait until Prefect was told how the finished run ended; says nothing if that failed."""
        if self._engine is not None:
            await asyncio.wait({self._engine})

    def open_step(self, name: str, inputs: tuple[str, ...] | None = None) -> StepRecord:
        """Start a step that no function call stands for, fed by what made the answer; who asks closes it."""
        count = sum(record.name.rpartition("-")[0] == name for record in self.steps)
        record = _Watched(f"{name}-{count}", time_ns(), inputs or ())
        self.steps.append(record)
        if self._inside is not None:
            self._followed.append(
                asyncio.create_task(self._follow(name, record), context=self._inside.copy())
            )
        return record

    def finish(self, *args: Any, **kwargs: Any) -> None:
        """End the run, once, as `Run.finish` does; Prefect hears of it a moment later."""
        super().finish(*args, **kwargs)
        self._ended.set()

    async def _leave(self, answered: asyncio.Future[Any]) -> None:
        """Cancel the pipeline's function, not Prefect's engine, and wait until it let go of what it holds."""
        self._gone = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})
        if answered.done() and not answered.cancelled():
            answered.exception()  # nobody else will ask for it

    async def _run(
        self, pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any], answered: asyncio.Future[Any]
    ) -> None:
        async def hold() -> State[Any]:
            await self._answer_by(pipeline, args, kwargs, answered)
            return await self._outcome()

        _current.set(None)  # or the steps would be recorded by an express run around this one
        _clean.set(self._cleaning)
        shown = self.parameters or pipeline.serialize_parameters(
            get_call_parameters(pipeline.fn, args, kwargs)
        )
        with prefect_tags(*self.tags):
            await _Held(hold, shown, pipeline.name, self.name)(return_state=True)

    async def _answer_by(
        self, pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any], answered: asyncio.Future[Any]
    ) -> None:
        """Call the pipeline's function, and hand over what it gives or raises."""
        if self._gone:
            answered.cancel()
            return
        self._inside = copy_context()
        self._work = work = asyncio.ensure_future(_called(pipeline, args, kwargs))
        await asyncio.wait({work})
        if work.cancelled():
            answered.cancel()
        elif (error := work.exception()) is not None:
            answered.set_exception(error)
        else:
            self._answer = work.result()
            answered.set_result(self._answer)

    async def _outcome(self) -> State[Any]:
        """Wait for the run's end; write its table and its tags, and give the state to end in."""
        await self._ended.wait()
        await asyncio.gather(*self._followed)
        self._answer = None
        context = FlowRunContext.get()
        assert context is not None  # noqa: S101 - this is called by the flow
        assert context.flow_run is not None  # noqa: S101 - as above
        document = orjson.loads(frames.end_body(self))  # what the recorder is sent of an express run
        client, key = cast("PrefectClient", context.client), context.flow_run.id
        await client.create_artifact(ArtifactCreate(**payloads.artifact(document, str(key))))
        await client.update_flow_run(key, tags=self.tags)
        return State(**payloads.final_state(document)["state"])

    async def _follow(self, name: str, record: _Watched) -> None:
        """Be the task run of a step that was opened."""

        async def wait(_: Any) -> State[Any]:
            await record.ended.wait()
            error = record.error
            return ended_state(record.state, None if error is None else self._cleaning(error))

        relay: Callable[..., Awaitable[Any]] = Step(wait, name=name)
        await relay(self._answer, return_state=True)

    def _let_go(self, engine: asyncio.Task[None]) -> None:
        self._engines.discard(engine)
        if not engine.cancelled() and (error := engine.exception()) is not None:
            _log.warning("Prefect's engine did not record %s: %s", self.name, type(error).__name__)


class _Watched(StepRecord):
    """A step's record whose end can be waited for."""

    __slots__ = ("ended",)

    def __init__(self, name: str, start: int, inputs: tuple[str, ...]) -> None:
        super().__init__(name, start, inputs)
        self.ended = asyncio.Event()

    def close(self, *args: Any, **kwargs: Any) -> None:
        super().close(*args, **kwargs)
        self.ended.set()


class _Held(Pipeline[[], Any]):
    """The flow that Prefect runs in a pipeline's place, under its name; `shown` are its parameters."""

    def __init__(self, fn: Any, shown: Mapping[str, Any], name: str, run_name: str) -> None:
        # the name is a template to Prefect: braces in it would ask for parameters
        super().__init__(fn, name=name, flow_run_name=run_name.replace("{", "{{").replace("}", "}}"))
        self._shown = dict(shown)

    def serialize_parameters(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._shown


async def _called(pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = pipeline.fn(*args, **kwargs)
    return await result if pipeline.isasync else result


async def run_plainly(
    pipeline: Pipeline[..., Any], *args: Any, name: str, tags: Sequence[str] = (), **kwargs: Any
) -> Any:
    """Run `pipeline` under Prefect's own engine, and end its run when its function does."""
    run = PlainRun(pipeline.name, name=name, tags=tags)
    try:
        result = await run.call(pipeline, *args, **kwargs)
    except BaseException as error:
        cancelled = isinstance(error, asyncio.CancelledError)
        run.finish("cancelled" if cancelled else "failed", error=error)
        raise
    else:
        run.finish("completed")
    finally:
        await run.settled()
    return result
