"""Steps and pipelines: Prefect's tasks and flows, whose functions an express run calls directly."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from copy import copy
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType
from prefect.utilities.annotations import BaseAnnotation, opaque

from express.feeds import components
from express.runs import Run, _current
from express.summaries import error_text, summary_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
R = TypeVar("R")

# What Prefect's engine does around a function. An express run does not, so a step that relied on
# it would mean two things: say it in the function instead.
_ENGINE_OPTIONS = (
    "retries",
    "retry_condition_fn",
    "timeout_seconds",
    "cache_key_fn",
    "persist_result",
    "validate_parameters",
)
_CALL_OPTIONS = frozenset({"return_state", "wait_for"})

_clean: ContextVar[Callable[[str], str] | None] = ContextVar("plain_run_clean", default=None)
"""What cleans the texts of errors, within a run under Prefect's engine that Prefect may see no error of."""


def ended_state(kind: str, message: str | None) -> State[Any]:
    """Give the state in which a step ends, as Prefect knows it: `completed`, `failed` or `cancelled`."""
    return State(type=StateType(kind.upper()), name=kind.capitalize(), message=message)


def _state_after(error: BaseException, clean: Callable[[str], str]) -> State[Any]:
    kind = "cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "failed"
    return ended_state(kind, clean(error_text(error)))


def _refuse_engine_options(name: str, options: dict[str, Any]) -> None:
    used = [option for option in _ENGINE_OPTIONS if options.get(option)]
    if used:
        raise TypeError(f"{name}: {', '.join(used)} would hold under Prefect's engine only")


class _Direct:
    """What steps and pipelines share: how an express run calls them."""

    name: str
    fn: Callable[..., Any]
    isasync: bool

    def _called_by(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        record = run.enter(self.name, args, kwargs)
        try:
            result = self.fn(*args, **kwargs)
        except BaseException as error:
            record.fail(error)
            raise
        run.leave(record, result)
        return result

    def _like(self, plain: Any) -> Any:
        """Give this with the attributes of `plain`: Prefect's `with_options` forgets the class."""
        changed = copy(self)
        changed.__dict__.update(plain.__dict__)
        return changed

    async def _awaited_by(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        record = run.enter(self.name, args, kwargs)
        try:
            result = await self.fn(*args, **kwargs)
        except BaseException as error:
            record.fail(error)
            raise
        run.leave(record, result)
        return result


class Step(Task[P, R], _Direct):
    """A task that an express run calls as the plain function it is, and records.

    It caches and persists nothing. It may return a live stream, but not be a generator: Prefect's
    engine does not close what a generator holds when its reader leaves.

    Under Prefect's engine its arguments are opaque: Prefect would walk all of a conversation for
    what fed it, where an express run looks one level deep. So the components of its arguments are
    handed over beside them, as what the task waits for. Within a `PlainRun` what it raises is kept from
    Prefect, which is given a state instead.
    """

    def __init__(self, fn: Callable[P, R], **options: Any) -> None:
        _refuse_engine_options(getattr(fn, "__name__", repr(fn)), options)
        super().__init__(fn, **{"cache_policy": NO_CACHE, **options, "persist_result": False})
        if self.isgenerator:
            raise TypeError(f"{self.name}: a step returns its stream, it does not yield it")

    if not TYPE_CHECKING:  # pragma: no branch - Prefect's overloads stay what the type checker sees

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            run = _current.get()
            if run is None:
                return self._plainly(*args, **kwargs)
            return self._awaited_by(run, args, kwargs) if self.isasync else self._called_by(run, args, kwargs)

        def _plainly(self, *args: Any, return_state: bool = False, wait_for: Any = (), **kwargs: Any) -> Any:
            parts = [opaque(part) for value in (*args, *kwargs.values()) for part in components(value)]
            given = {name: opaque(value) for name, value in kwargs.items()}
            options = {"return_state": return_state, "wait_for": [*wait_for, *parts]}
            if (clean := _clean.get()) is None:
                return super().__call__(*map(opaque, args), **options, **given)
            raised: list[BaseException] = []
            call = super(Step, self._hiding(raised, clean)).__call__
            if self.isasync:
                return _or_raised(call(*map(opaque, args), **options, **given), raised)
            result = call(*map(opaque, args), **options, **given)
            if raised:
                raise raised[0]
            return result

        def _hiding(self, raised: list[BaseException], clean: Callable[[str], str]) -> Step[..., Any]:
            """Give this step with a function that gives a state where it would raise, and keeps the error."""

            @wraps(self.fn)
            def called(*args: Any, **kwargs: Any) -> Any:
                try:
                    return self.fn(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001 - raised again by who called the step
                    raised.append(error)
                    return _state_after(error, clean)

            @wraps(self.fn)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await self.fn(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001 - as above
                    raised.append(error)
                    return _state_after(error, clean)

            hiding = copy(self)
            hiding.fn = awaited if self.isasync else called
            return hiding

        def with_options(self, **options: Any) -> Any:
            _refuse_engine_options(self.name, options)
            return self._like(super().with_options(**options))


async def _or_raised(call: Awaitable[Any], raised: list[BaseException]) -> Any:
    result = await call
    if raised:
        raise raised[0]
    return result


class Pipeline(Flow[P, R], _Direct):
    """A flow whose arguments Prefect neither validates, copies, persists nor shows.

    `Run.call` runs its function. Called inside an express run it is one more step of that run.
    """

    def __init__(self, fn: Callable[P, R], **options: Any) -> None:
        _refuse_engine_options(getattr(fn, "__name__", repr(fn)), options)
        super().__init__(fn, **{**options, "validate_parameters": False, "persist_result": False})
        if self.isgenerator:
            raise TypeError(f"{self.name}: a pipeline returns its stream, it does not yield it")

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Give what the run shows of its arguments: their own summaries, or their types' names."""
        return {
            name: summary_of(value.unwrap() if isinstance(value, BaseAnnotation) else value)
            for name, value in parameters.items()
        }

    if not TYPE_CHECKING:  # pragma: no branch

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            run = _current.get()
            if run is None:
                values = {name: opaque(value) for name, value in kwargs.items() if name not in _CALL_OPTIONS}
                return super().__call__(*map(opaque, args), **{**kwargs, **values})
            return self._awaited_by(run, args, kwargs) if self.isasync else self._called_by(run, args, kwargs)

        def with_options(self, **options: Any) -> Any:
            _refuse_engine_options(self.name, options)
            return self._like(super().with_options(**options))


@overload
def step(fn: Callable[P, R]) -> Step[P, R]: ...
@overload
def step(
    fn: None = None, *, name: str | None = None, **options: Any
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(fn: Any = None, *, name: str | None = None, **options: Any) -> Any:
    """Make a function, sync or async, a step; `options` are those of `prefect.task`."""
    if fn is None:
        return lambda fn: Step(fn, name=name, **options)
    return Step(fn, name=name, **options)


@overload
def pipeline(fn: Callable[P, R]) -> Pipeline[P, R]: ...
@overload
def pipeline(
    fn: None = None, *, name: str | None = None, **options: Any
) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(fn: Any = None, *, name: str | None = None, **options: Any) -> Any:
    """Make a function, sync or async, a pipeline; `options` are those of `prefect.flow`."""
    if fn is None:
        return lambda fn: Pipeline(fn, name=name, **options)
    return Pipeline(fn, name=name, **options)
