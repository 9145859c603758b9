"""Try again before the first byte: on one backend as long as the client would wait, then on the next."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from express import current_run
from tasks.must_reason import reworded
from wire.errors import (
    BillingRequired,
    Conflict,
    GatewayError,
    KeyRefused,
    Overloaded,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tasks.backend import Lane, Lanes, Outgoing, Route
    from tasks.exchange import Exchange

T = TypeVar("T")

# What another backend may do better. A request that is wrong, or too long, is so everywhere.
_WORTH_ANOTHER = (
    BillingRequired,
    Conflict,
    KeyRefused,
    Overloaded,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try again; times in seconds.

    `longest_wait` is what an upstream may ask us to wait, `wait_before_next` when a fallback is there.
    """

    retries: int = 2
    base: float = 0.5
    cap: float = 8.0
    longest_wait: float = 30.0
    wait_before_next: float = 2.0

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Give the wait before the next attempt: what the upstream asks for, or full jitter."""
        jitter = random.uniform(0, min(self.cap, self.base * 2**attempt))  # noqa: S311 - spreading, no secret
        return jitter if retry_after is None else retry_after + jitter * 0.1


async def first_to_answer(
    answer: Callable[[Route], Awaitable[T]], routes: Sequence[Route], exchange: Exchange
) -> T:
    """Await `answer` for each route until one gives something; if none does, raises the first one's error.

    A request that is wrong for the first route is not tried on others. What goes wrong on a fallback, be
    it that the request has no form there, only makes it pass to the next.
    """
    told: GatewayError | None = None
    for route in routes:
        exchange.tried.append(route.target)
        exchange.calls_before.append(exchange.attempts)
        exchange.has_next = route is not routes[-1]
        try:
            return await answer(route)
        except GatewayError as error:
            if told is None and not isinstance(error, _WORTH_ANOTHER):
                raise
            told = told or error
            _note(f"{route.target.backend} ({route.target.model}) did not answer: {type(error).__name__}")
    assert told is not None  # noqa: S101 - there is a first route, and it raised
    raise told


async def attempt(
    call: Callable[[Outgoing, Lane], Awaitable[T]],
    outgoing: Outgoing,
    backend: Lanes,
    exchange: Exchange,
    patience: Patience,
) -> T:
    """Await `call` up to `1 + retries` times; raises the last error, or one not worth a retry.

    What fails counts against the lane, or the model on it. A key that is refused or at its limit hands over
    to the next one at once, and that is no retry. Nor is asking in other words, at once, a model that refuses
    to be told not to reason.
    """
    failure: GatewayError | None = None
    model = outgoing.context.upstream_model
    tried = 0
    while True:
        try:
            lane = backend.pick(model)
        except GatewayError as shut:
            raise failure or shut from None
        exchange.attempts += 1
        try:
            result = await call(outgoing, lane)
        except GatewayError as error:
            failure = error
        else:
            lane.succeeded(model)
            return result
        if lane.failed(failure, model):
            continue
        if (again := reworded(outgoing, failure)) is not None:
            _note(f"{model} must reason: asked again for as little as it can")
            outgoing = again
            continue
        pause = patience.pause(tried, failure.retry_after)
        longest = patience.wait_before_next if exchange.has_next else patience.longest_wait
        if not failure.retryable or tried >= patience.retries or pause > min(longest, _time_left(exchange)):
            raise failure
        tried += 1
        await asyncio.sleep(pause)


def _time_left(exchange: Exchange) -> float:
    """Give the seconds that the client still waits, if it says how many (SDKs send `x-stainless-timeout`)."""
    try:
        return float(exchange.headers["x-stainless-timeout"]) - (time.time() - exchange.started)
    except (KeyError, ValueError):
        return float("inf")


def _note(line: str) -> None:
    if (run := current_run()) is not None:
        run.log(line)
