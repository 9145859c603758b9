"""The same flows under express and under Prefect's own engine, against a real server."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)

from express import MemorySink, Run, current_run, pipeline, run_plainly, step
from wire.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from coordinators.prefect_server import PrefectServer
    from tests.express.conftest import PrefectReader

# Prefect asks the server for its version through a client that it never closes
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

SECRET = "a prompt that nobody may record"


class Exchange:
    """An argument that Prefect can neither validate, copy nor serialize."""

    def __init__(self) -> None:
        self.body = {"messages": [{"role": "user", "content": SECRET}]}
        self.tries = 0
        self.seen: list[int] = []

    def __reduce__(self) -> Any:
        raise TypeError("never copied")

    def __prefect_summary__(self) -> dict[str, Any]:
        return {"messages": len(self.body["messages"])}


class Stream:
    """A live stream: it can be read once and must be closed by who reads it."""

    def __init__(self) -> None:
        self.opened = False

    async def __aiter__(self) -> Any:
        self.opened = True
        yield b"chunk"


@step
async def validate(exchange: Exchange) -> dict[str, Any]:
    exchange.seen.append(id(exchange))
    return {"body": exchange.body, "model": "big model"}


@step
def convert(request: dict[str, Any]) -> list[Any]:
    return [request]


@step
async def call_backend(body: list[Any], exchange: Exchange, failures: int) -> tuple[Stream, int]:
    await asyncio.sleep(0)
    exchange.tries += 1
    if exchange.tries <= failures:
        raise Overloaded("come back later")
    return Stream(), exchange.tries


@step
def render(answer: tuple[Stream, int], *, request: dict[str, Any]) -> Stream:
    assert request["model"] == "big model"
    return answer[0]


@pipeline(name="two-engines")
async def messages(exchange: Exchange, failures: int = 0, tries: int = 1) -> Stream:
    request = await validate(exchange)
    body = convert(request)
    for left in reversed(range(tries)):
        try:
            answer = await call_backend(body, exchange, failures)
            break
        except Overloaded:
            if not left:
                raise
    return render(answer, request=request)


@pipeline
def counted(text: str) -> int:
    return len(convert({"text": text}))


@pytest_asyncio.fixture
async def own_engine(prefect_server: PrefectServer, tmp_path: Path) -> AsyncIterator[None]:
    """Point Prefect's engine at the server; let none of its threads and sockets outlive the test."""
    settings = {
        PREFECT_API_URL: prefect_server.url,
        PREFECT_HOME: tmp_path,
        PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",  # a step called alone logs outside any flow
    }
    with temporary_settings(settings):
        yield
        await APILogHandler.aflush()
        await cast("Awaitable[Any]", EventsWorker.drain_all())
        gc.collect()


Recorded = dict[str, tuple[str, frozenset[str]]]


async def under_express(failures: int, tries: int) -> tuple[Any, Recorded]:
    exchange, run = Exchange(), Run("two-engines", name="express", sink=MemorySink())
    try:
        result: Any = await run.call(messages, exchange, failures, tries=tries)
    except Overloaded as error:
        result = error
    assert exchange.seen == [id(exchange)]
    return result, {s.name: (s.state, frozenset(s.inputs)) for s in run.steps}


async def under_prefect(reader: PrefectReader, failures: int, tries: int, count: int) -> tuple[Any, Recorded]:
    exchange, name = Exchange(), f"plain-{failures}-{tries}-{{x}}"
    try:
        result: Any = await run_plainly(messages, exchange, failures, tries=tries, name=name, tags=["t"])
    except Overloaded as error:
        result = error
    assert exchange.seen == [id(exchange)]
    flow_run = await reader.flow_run(name)
    assert flow_run["tags"] == ["t"]
    assert flow_run["parameters"] == {"exchange": {"messages": 1}, "failures": "int", "tries": "int"}
    tasks = await reader.task_runs(flow_run["id"], count)
    assert SECRET not in str((flow_run, tasks))
    return result, {n: (t["state_name"].lower(), frozenset(t["feeds"])) for n, t in tasks.items()}


CASES = {
    "success": (0, 1, ["validate-0", "convert-0", "call_backend-0", "render-0"]),
    "failure": (1, 1, ["validate-0", "convert-0", "call_backend-0"]),
    "retry": (2, 3, ["validate-0", "convert-0", *(f"call_backend-{k}" for k in range(3)), "render-0"]),
}


@pytest.mark.usefixtures("own_engine")
@pytest.mark.parametrize(("failures", "tries", "names"), CASES.values(), ids=CASES)
async def test_both_engines_answer_and_record_alike(
    prefect: PrefectReader, failures: int, tries: int, names: list[str]
) -> None:
    fast, recorded = await under_express(failures, tries)
    slow, recorded_by_prefect = await under_prefect(prefect, failures, tries, len(names))
    assert list(recorded) == names
    assert recorded == recorded_by_prefect
    assert type(fast) is type(slow)
    assert str(fast) == str(slow) or isinstance(fast, Stream)
    if isinstance(fast, Stream):
        assert (fast.opened, slow.opened) == (False, False)
        assert [chunk async for chunk in slow] == [b"chunk"]


@pytest.mark.usefixtures("own_engine")
async def test_a_plain_function_runs_under_both_engines(prefect: PrefectReader) -> None:
    assert await Run("counted", name="c").call(counted, SECRET) == 1
    assert await run_plainly(counted, SECRET, name="counted-plain") == 1
    flow_run = await prefect.flow_run("counted-plain", "Completed")
    assert flow_run["parameters"] == {"text": "str"}
    assert current_run() is None


@pytest.mark.usefixtures("own_engine")
async def test_nothing_is_persisted(tmp_path: Path) -> None:
    await run_plainly(messages, Exchange(), name="nothing-persisted")
    assert not list(tmp_path.rglob("storage/*"))


@pytest.mark.usefixtures("own_engine")
def test_a_step_called_alone_is_an_ordinary_task() -> None:
    call: Callable[..., Any] = convert
    assert call({"a": 1}) == [{"a": 1}]
    assert call({"a": 1}, return_state=True).is_completed()
