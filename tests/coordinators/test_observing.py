"""Every way a request can end is told to the observers, once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest

from coordinators.gateway import Gateway
from coordinators.prices import Prices
from coordinators.runs import FlowRuns
from express import MemorySink, pipeline
from tasks.exchange import Exchange
from wire.errors import Overloaded


class Seen:
    def __init__(self):
        self.endings = []

    def ended(self, ending):
        self.endings.append(ending)


@pipeline(name="answering")
async def answering(exchange):
    return exchange.id


def opened(seen, *, engine="express"):
    sink = MemorySink()
    exchange = Exchange("req_1", {}, b"{}", {"model": "m"})
    return FlowRuns(engine, sink, [seen]).open(answering, exchange, "demo"), exchange


async def test_a_request_that_ends_well_is_told_with_its_summary_and_run():
    seen = Seen()
    run, exchange = opened(seen)
    assert await run.call(exchange) == "req_1"
    run.complete({"output_tokens": 3})
    (ending,) = seen.endings
    assert ending.exchange is exchange
    assert (ending.flow, ending.status, ending.error, ending.crashed) == ("answering", 200, None, False)
    assert ending.summary["output_tokens"] == 3
    assert ending.run_name == "answering-req_1"
    assert ending.ms >= 0


@pytest.mark.parametrize(
    ("end", "status", "crashed"),
    [
        (lambda run, error: run.fail(error, {}), 529, False),
        (lambda run, error: run.cancel(asyncio.CancelledError(), {}), 499, False),
        (lambda run, error: run.crash(error), 500, True),
    ],
)
async def test_other_endings_are_told_with_what_was_raised(end, status, crashed):
    seen = Seen()
    run, _ = opened(seen, engine="off")
    end(run, Overloaded("full"))
    await asyncio.sleep(0)
    (ending,) = seen.endings
    assert (ending.status, ending.crashed) == (status, crashed)
    assert ending.error is not None


class OddStream:
    """A stream that goes as `end` says, and whose usage cannot be summed up."""

    cut = False
    translator = SimpleNamespace(failed=False, usage=5, cost=None, stop_reason=None, generation_id=None)

    def __init__(self, end):
        self._end = end

    async def frames(self):
        yield b"frame"
        if self._end is not None:
            raise self._end

    def fail(self, error, request_id):
        return b"error"

    async def close(self):
        pass


@pytest.mark.parametrize(
    ("end", "status"),
    [(None, 500), (Overloaded("full"), 529), (asyncio.CancelledError(), 499), (KeyError("odd"), 500)],
)
async def test_a_stream_s_run_ends_once_however_odd_its_answer_was(end, status):
    seen = Seen()
    run, exchange = opened(seen, engine="off")
    names = "backends universal counter catalog keys limits runs patience cache house describe check_health"
    gateway = Gateway(**dict.fromkeys(names.split()), prices=Prices(), ping_seconds=1.0)
    with suppress(asyncio.CancelledError):
        async for _ in gateway._relay(OddStream(end), exchange, run):
            pass
    await asyncio.sleep(0)
    assert [ending.status for ending in seen.endings] == [status]
    assert gateway.streams_open == 0


def test_an_observer_that_fails_does_not_become_the_clients_error():
    class Failing:
        def ended(self, ending):
            raise TypeError("odd")

    seen = Seen()
    exchange = Exchange("req_1", {}, b"{}", {"model": "m"})
    FlowRuns("off", None, [Failing(), seen]).open(answering, exchange, "demo").complete({})
    assert len(seen.endings) == 1
