from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

import express
from express import MemorySink, Run, current_run, pipeline, run, step
from express.runs import LOG_LINES


class Answer:
    pass


@step
async def fetch(argument: Any) -> Any:
    await asyncio.sleep(0)
    return [argument]


@step
def shape(argument: Any, *, extra: Any = None) -> dict[str, Any]:
    return {"argument": argument, "extra": extra}


@step(name="break")
async def break_(error: BaseException) -> None:
    raise error


@step
def snap(error: BaseException) -> None:
    raise error


@pipeline
async def chain(argument: Any) -> Any:
    first = await fetch(argument)
    second = await fetch(first)
    return shape(first, extra=second)


@pipeline
def plain_chain(argument: Any) -> Any:
    return shape(shape(argument))


@pipeline
async def broken(error: BaseException) -> None:
    await break_(error)


@pipeline
async def snapped(error: BaseException) -> None:
    snap(error)


def steps_of(run: Run) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(s.name, s.state, s.inputs) for s in run.steps]


async def test_a_call_gives_what_the_function_returns_and_records_its_steps() -> None:
    sink = MemorySink()
    before = time.time_ns()
    r = Run("chain", name="chain-1", tags=["a"], parameters={"n": 1}, sink=sink)
    argument = object()
    assert await r.call(chain, argument) == {"argument": [argument], "extra": [[argument]]}
    assert steps_of(r) == [
        ("fetch-0", "completed", ()),
        ("fetch-1", "completed", ("fetch-0",)),
        # `fetch` put the list in a list: as a component, it belongs to fetch-1 now
        ("shape-0", "completed", ("fetch-1", "fetch-0")),
    ]
    assert sink.begun == [r]
    assert sink.ended == []
    assert r.state is None
    r.finish("completed", tags=["b", "a"], summary={"tokens": 3}, logs=["done"])
    assert sink.ended == [r]
    assert (r.state, r.tags, r.summary, r.error) == ("completed", ("a", "b"), {"tokens": 3}, None)
    assert [(level, line) for _, level, line in r.logs] == [(20, "done")]
    times = [before, r.start, *(t for s in r.steps for t in (s.start, s.end)), r.end, time.time_ns()]
    assert times == sorted(times)


async def test_a_pipeline_without_await_runs_too() -> None:
    r = Run("plain-chain", name="p", sink=MemorySink())
    answer = await run(plain_chain, 1, run=r)
    assert answer == {"argument": {"argument": 1, "extra": None}, "extra": None}
    assert steps_of(r) == [("shape-0", "completed", ()), ("shape-1", "completed", ("shape-0",))]


@pytest.mark.parametrize("flow", [broken, snapped])
@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ValueError("a prompt"), "failed"),
        (KeyboardInterrupt(), "failed"),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "cancelled"),
    ],
)
async def test_what_a_step_raises_is_recorded_and_raised_on(
    flow: Any, error: BaseException, state: str
) -> None:
    r = Run("broken", name="b")
    with pytest.raises(type(error)) as caught:
        await r.call(flow, error)
    assert caught.value is error
    (record,) = r.steps
    assert record.state == state
    assert record.error is not None
    assert record.error.startswith(type(error).__name__)
    assert "prompt" not in record.error
    r.finish("failed", error=error)
    assert r.error is not None


async def test_a_cancelled_task_leaves_a_cancelled_step() -> None:
    started = asyncio.Event()

    @step
    async def wait() -> None:
        started.set()
        await asyncio.sleep(60)

    @pipeline
    async def waiting() -> None:
        await wait()

    r = Run("waiting", name="w")
    task = asyncio.create_task(r.call(waiting))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps_of(r) == [("wait-0", "cancelled", ())]


async def test_steps_under_way_at_once_are_told_apart() -> None:
    @step
    async def nap(seconds: float) -> list[float]:
        await asyncio.sleep(seconds)
        return [seconds]

    @pipeline
    async def both() -> Any:
        slow, fast = await asyncio.gather(nap(0.02), nap(0.001))
        return shape(fast, extra=slow)

    r = Run("both", name="b", sink=MemorySink())
    assert await r.call(both) == {"argument": [0.001], "extra": [0.02]}
    assert [name for name, _, _ in steps_of(r)] == ["nap-0", "nap-1", "shape-0"]
    assert r.steps[0].end > r.steps[1].end
    assert r.steps[2].inputs == ("nap-1", "nap-0")


async def test_runs_at_once_do_not_mix() -> None:
    async def one(k: int) -> Run:
        r = Run("chain", name=f"chain-{k}")
        await r.call(chain, k)
        return r

    runs = await asyncio.gather(*(one(k) for k in range(5)))
    assert [len(r.steps) for r in runs] == [3] * 5


async def test_a_pipeline_inside_a_run_is_one_more_step_of_it() -> None:
    @pipeline
    async def outer(argument: Any) -> Any:
        return plain_chain(await chain(argument))

    r = Run("outer", name="o", sink=MemorySink())
    await r.call(outer, object())
    names = [name for name, _, _ in steps_of(r)]
    assert names == ["chain-0", "fetch-0", "fetch-1", "shape-0", "plain-chain-0", "shape-1", "shape-2"]
    assert {s.state for s in r.steps} == {"completed"}


async def test_the_current_run_is_the_one_under_way() -> None:
    @pipeline
    async def who() -> Run | None:
        return current_run()

    r = Run("who", name="w")
    assert current_run() is None
    assert await r.call(who) is r
    assert current_run() is None


async def test_what_happens_after_the_function_is_recorded_by_hand() -> None:
    r = Run("chain", name="c", sink=MemorySink())
    await r.call(chain, object())
    relay = r.open_step("relay")
    tail = r.open_step("tail", inputs=("relay-0",))
    relay.close()
    first_end = relay.end
    relay.close("failed", ValueError())
    assert (relay.end, relay.state, relay.error) == (first_end, "completed", None)
    assert "shape-0" in relay.inputs
    assert (tail.inputs, tail.end, tail.state) == (("relay-0",), 0, "running")
    r.finish("cancelled")
    assert tail.state == "cancelled"
    assert repr(tail) == "StepRecord(tail-0, cancelled, inputs=('relay-0',))"
    assert repr(r).startswith("Run(c, cancelled, steps=[StepRecord(fetch-0")


async def test_a_run_ends_once() -> None:
    sink = MemorySink()
    r = Run("chain", name="c", sink=sink)
    r.finish("failed", error=ValueError())
    end = r.end
    r.finish("completed", tags=["late"])
    assert (r.state, r.end, r.tags) == ("failed", end, ())
    assert (sink.begun, sink.ended) == ([r], [r])


def test_the_log_is_bounded() -> None:
    r = Run("chain", name="c", sink=MemorySink())
    for k in range(LOG_LINES + 5):
        r.log(str(k), 30)
    assert len(r.logs) == LOG_LINES


async def test_results_are_let_go_when_the_function_is_over() -> None:
    @step
    def make() -> Answer:
        return Answer()

    @pipeline
    async def making() -> weakref.ref[Answer]:
        return weakref.ref(make())

    r = Run("making", name="m", sink=MemorySink())
    ref = await r.call(making)
    gc.collect()
    assert ref() is None


async def test_a_step_that_outlives_the_function_is_recorded_and_feeds_nothing() -> None:
    gate = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    @step
    async def late() -> list[int]:
        await gate.wait()
        return [1000]

    @pipeline
    async def leaving() -> None:
        tasks.append(asyncio.create_task(late()))
        await asyncio.sleep(0)

    r = Run("leaving", name="l", sink=MemorySink())
    await r.call(leaving)
    gate.set()
    result = await tasks[0]
    assert steps_of(r) == [("late-0", "completed", ())]
    assert r._trace == []
    assert result == [1000]


async def test_a_call_closed_in_another_context_ends_quietly() -> None:
    @pipeline
    async def forever() -> None:
        await asyncio.Event().wait()

    r = Run("forever", name="f")
    coroutine = r.call(forever)

    async def begin() -> None:
        coroutine.send(None)

    await asyncio.create_task(begin())
    coroutine.close()
    assert current_run() is None


def test_the_package_offers_what_it_says() -> None:
    assert all(getattr(express, name) is not None for name in express.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        express.nonsense  # noqa: B018


def test_generators_are_no_steps_and_no_pipelines() -> None:
    def items() -> Any:
        yield 1

    with pytest.raises(TypeError, match="a step returns its stream"):
        step(items)
    with pytest.raises(TypeError, match="a pipeline returns its stream"):
        pipeline(items)


@pytest.mark.parametrize("option", ["retries", "timeout_seconds"])
@pytest.mark.parametrize("kind", [step, pipeline])
def test_what_only_one_engine_would_do_is_refused(kind: Any, option: str) -> None:
    with pytest.raises(TypeError, match=f"f: {option} would hold under Prefect's engine only"):

        @kind(**{option: 2})
        def f() -> None: ...

    plain = kind(lambda: None, name="f")
    with pytest.raises(TypeError, match=f"f: {option} would hold under Prefect's engine only"):
        plain.with_options(**{option: 2})


async def test_a_step_with_other_options_is_still_a_step() -> None:
    other, flow = shape.with_options(name="other"), chain.with_options(description="d")

    @pipeline
    async def outer() -> Any:
        return other(await flow(1))

    r = Run("outer", name="o")
    await r.call(outer)
    assert [s.name for s in r.steps] == ["chain-0", "fetch-0", "fetch-1", "shape-0", "other-0"]
    assert (type(other), type(flow)) == (express.Step, express.Pipeline)
    assert flow.serialize_parameters({"argument": "a prompt"}) == {"argument": "str"}


async def test_only_of_runs_that_somebody_will_see_is_told_what_fed_what() -> None:
    class Withholding(MemorySink):
        def begin(self, run: Run) -> bool:
            super().begin(run)
            return False

    fails = False

    @step
    def make() -> list[int]:
        return [1000]

    @step
    def take(made: list[int]) -> int:
        if fails:
            raise ValueError("no")
        return len(made)

    @pipeline
    async def making() -> int:
        return take(make())

    seen, withheld, failed = (
        Run("making", name="m", sink=sink) for sink in (MemorySink(), *[Withholding()] * 2)
    )
    await seen.call(making)
    await withheld.call(making)
    fails = True
    with pytest.raises(ValueError, match="no"):
        await failed.call(making)
    assert [run.steps[1].inputs for run in (seen, withheld, failed)] == [("make-0",), (), ("make-0",)]


async def test_a_step_that_begins_after_the_function_is_recorded_too() -> None:
    gate = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    @step
    def later() -> list[int]:
        return [1000]

    async def wait_and_call() -> list[int]:
        await gate.wait()
        return later()

    @pipeline
    async def leaving() -> None:
        tasks.append(asyncio.create_task(wait_and_call()))
        await asyncio.sleep(0)

    r = Run("leaving", name="l", sink=MemorySink())
    await r.call(leaving)
    gate.set()
    assert await tasks[0] == [1000]
    assert steps_of(r) == [("later-0", "completed", ())]
    assert r._trace == []


@pipeline
async def mended(error: BaseException) -> str:
    try:
        await break_(error)
    except ValueError:
        current_run().log("secret words were refused")
    return "mended"


@pytest.mark.parametrize(
    ("flow", "given", "errors"),
    [(chain, "secret", 0), (mended, ValueError("secret"), 1), (broken, ValueError("secret"), 2)],
)
async def test_what_failures_left_behind_is_cleaned(flow: Any, given: Any, errors: int) -> None:
    made = Run(flow.name, name="one", clean=lambda text: text.replace("secret", "[…]"))
    try:
        await made.call(flow, given)
    except ValueError as error:
        made.finish("failed", error=error)
    else:
        made.finish("completed")
    told = [record.error for record in made.steps if record.error] + ([made.error] if made.error else [])
    assert len(told) == errors
    assert not [text for text in [*told, *(line for _, _, line in made.logs)] if "secret" in text]


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_a_run_that_has_ended_holds_nothing_of_what_cleaned_it(state: Any) -> None:
    class Request:
        def clean(self, text: str) -> str:
            return text

    request = Request()
    held = weakref.ref(request)
    made = Run("chain", name="one", clean=request.clean)
    await made.call(chain, "x")
    made.finish(state, error=ValueError("x") if state == "failed" else None)
    del request
    assert held() is None
