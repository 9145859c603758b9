"""A run under Prefect's own engine where that engine fails, or is not that far yet; nothing asks Prefect."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from express import PlainRun
from express.steps import pipeline


@pipeline
async def nothing() -> None:
    """Do nothing."""


def replaced(monkeypatch: pytest.MonkeyPatch, engine: Any) -> PlainRun:
    """Give a run whose Prefect is `engine`, which is given the future for the answer."""

    async def run(_: PlainRun, __: Any, ___: Any, ____: Any, answered: asyncio.Future[Any]) -> None:
        await engine(answered)

    monkeypatch.setattr(PlainRun, "_run", run)
    return PlainRun("nothing", name="nothing-1")


async def test_an_engine_that_never_calls_the_function_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def engine(_: Any) -> None:
        raise ConnectionError("no Prefect here")

    run = replaced(monkeypatch, engine)
    with caplog.at_level(logging.WARNING), pytest.raises(ConnectionError, match="no Prefect here"):
        await run.call(nothing)
    await run.settled()
    await asyncio.sleep(0)
    assert "did not record nothing-1: ConnectionError" in caplog.text


async def test_a_run_that_never_began_is_settled_and_has_steps() -> None:
    run = PlainRun("nothing", name="nothing-1")
    step = run.open_step("relay_stream")
    step.close()
    await run.settled()
    assert [(one.name, one.state) for one in run.steps] == [("relay_stream-0", "completed")]


async def test_who_leaves_before_the_function_is_called_calls_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def engine(answered: asyncio.Future[Any]) -> None:
        asking.cancel()
        await asyncio.sleep(0.01)
        await run._answer_by(nothing, (), {}, answered)
        futures.append(answered)

    futures: list[asyncio.Future[Any]] = []
    run = replaced(monkeypatch, engine)
    asking = asyncio.create_task(run.call(nothing))
    with pytest.raises(asyncio.CancelledError):
        await asking
    await run.settled()
    assert futures[0].cancelled()


async def test_an_error_that_nobody_waits_for_any_more_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    async def engine(answered: asyncio.Future[Any]) -> None:
        answered.set_exception(ValueError("unheard"))
        asking.cancel()
        await asyncio.sleep(0)

    run = replaced(monkeypatch, engine)
    asking = asyncio.create_task(run.call(nothing))
    with pytest.raises(asyncio.CancelledError):
        await asking
    await run.settled()
