"""One request of a batch: asked until it is answered, or until asking again is no use."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from tasks.batch import FailedAttempt, ItemResult, StoreFailed
from tasks.exchange import Exchange
from wire.check import parse_body
from wire.errors import (
    Conflict,
    GatewayError,
    InvalidRequest,
    Overloaded,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
    error_body,
)
from wire.messages import new_id

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from coordinators.batch_pace import Pace
    from coordinators.batch_refusals import Refusals
    from coordinators.batch_watch import Watch
    from tasks.batch import Batch, Item
    from tasks.exchange import Whole
    from wire.messages import Json

_WORTH_ANOTHER = (Conflict, Overloaded, RateLimited, UpstreamFailed, UpstreamTimeout)
_MESSAGE_LENGTH = 500
_BYTES_OF_A_TOKEN = 4
_STORE_PAUSE = 1.0
_LATELY = 32
_TOO_MANY = 16
_HOLD_SECONDS = 1.0
_LONGEST_HOLD = 30.0


@dataclass(frozen=True, slots=True)
class Persistence:
    """How often a request is asked, and how long to wait between, in seconds.

    The wait doubles from `base` to `cap`, and a random part of it is taken off, so that what failed together
    does not come again together. `longest` is what an upstream's `retry-after` is believed.
    """

    attempts: int = 8
    base: float = 1.0
    cap: float = 60.0
    longest: float = 120.0

    def pause(self, number: int, retry_after: float | None) -> float:
        """Give the wait after the attempt of this number, which counts from 1."""
        most = min(self.cap, self.base * 2 ** (number - 1))
        jitter = random.uniform(most / 2, most)  # noqa: S311 - spreading, no secret
        return jitter if retry_after is None else min(retry_after, self.longest) + jitter * 0.1


class Asker:
    """Asks for the answers to a batch's requests. All batches of a process share `places` and `pace`.

    `refusals` notes what is refused before it is asked.

    When an upstream refuses most requests because they are too many, none is sent for a while: each would use
    up an attempt. One refused now and then holds up nobody else.
    """

    def __init__(
        self,
        answer: Callable[[Exchange, str], Awaitable[Whole]],
        *,
        places: asyncio.Semaphore,
        pace: Pace,
        persistence: Persistence,
        refusals: Refusals,
    ) -> None:
        self._answer = answer
        self._refusals = refusals
        self._places = places
        self._pace = pace
        self._persistence = persistence
        self._refused: deque[bool] = deque(maxlen=_LATELY)
        self._hold_until = 0.0

    async def ask(
        self, batch: Batch, item: Item, watch: Watch, note: Callable[[FailedAttempt], None]
    ) -> ItemResult | None:
        """Give what becomes of the request; None if the batch stops before anything does.

        `note` is told every attempt that failed and is to be made again.
        """
        number = item.attempts
        exchange = Exchange(new_id("req"), batch.headers, item.params)
        try:
            body = _read(exchange)
        except GatewayError as error:
            return _errored(item, error, self._refusals.note(error, batch, exchange), exchange, number, 0.0)
        size = len(item.params) // _BYTES_OF_A_TOKEN
        while True:
            if not await watch.goes_on() or not await self._may_send(size, watch):
                return None
            async with self._places:
                if watch.paused or watch.stop is not None:
                    continue
                exchange = Exchange(new_id("req"), batch.headers, item.params, dict(body))
                begun = time.perf_counter()
                try:
                    whole = await self._answer(exchange, batch.tenant)
                except GatewayError as error:
                    failure = error
                else:
                    self._refused.append(False)
                    result = _succeeded(item, whole, number + 1, exchange.started, _ms_since(begun))
                    self._pace.settle(size, result.input_tokens + result.output_tokens)
                    return result
            asked = exchange.attempts > 0  # otherwise the backend is left alone, and nobody was asked
            number += asked
            if asked:
                self._learn(failure)
            if not _worth_another(failure) or (number >= self._persistence.attempts and asked):
                known = self._refusals.note(failure, batch, exchange)
                return _errored(item, failure, known, exchange, number, _ms_since(begun))
            if asked:
                note(_failed(item, failure, number, exchange.started, _ms_since(begun)))
            if await watch.stopped_within(self._persistence.pause(max(number, 1), failure.retry_after)):
                return None

    def _learn(self, failure: GatewayError) -> None:
        """Hold all requests back if too many were refused of late, for as long as the upstream asks."""
        refused = isinstance(failure, RateLimited | Overloaded)
        self._refused.append(refused)
        if refused and sum(self._refused) >= _TOO_MANY:
            seconds = min(failure.retry_after or _HOLD_SECONDS, _LONGEST_HOLD)
            self._hold_until = max(self._hold_until, time.monotonic() + seconds)

    async def _may_send(self, tokens: int, watch: Watch) -> bool:
        """Wait for the leave of the pace; False if the batch stops before it is given."""
        while True:
            hold = self._hold_until - time.monotonic()
            if hold > 0 and await watch.stopped_within(hold):
                return False
            if not self._pace.limited:
                return True
            try:
                return await watch.outlasts(self._pace.take(tokens))
            except StoreFailed:
                if await watch.stopped_within(_STORE_PAUSE):
                    return False


def _worth_another(error: GatewayError) -> bool:
    return error.retryable or isinstance(error, _WORTH_ANOTHER)


def _read(exchange: Exchange) -> Json:
    exchange.body = body = parse_body(exchange.raw)
    if body.get("stream"):
        raise InvalidRequest("stream: a batch's requests are answered whole; leave it out, or false")
    return body


def _succeeded(item: Item, whole: Whole, attempts: int, started: float, ms: float) -> ItemResult:
    told = whole.summary
    return ItemResult(
        seq=item.seq,
        custom_id=item.custom_id,
        outcome="succeeded",
        body=whole.body,
        attempts=attempts,
        started=started,
        ms=ms,
        input_tokens=_whole_number(told, "input_tokens")
        + _whole_number(told, "cache_read_input_tokens")
        + _whole_number(told, "cache_creation_input_tokens"),
        output_tokens=_whole_number(told, "output_tokens"),
        cost=float(told.get("cost_usd") or 0.0),
    )


def _errored(  # noqa: PLR0917 - as they are known
    item: Item, error: GatewayError, known: str, exchange: Exchange, attempts: int, ms: float
) -> ItemResult:
    return ItemResult(
        seq=item.seq,
        custom_id=item.custom_id,
        outcome="errored",
        body=orjson.dumps(error_body(error, exchange.id)),
        attempts=attempts,
        started=exchange.started,
        ms=ms,
        error_type=error.type,
        error_hash=known,
    )


def _failed(item: Item, error: GatewayError, number: int, started: float, ms: float) -> FailedAttempt:
    return FailedAttempt(item.seq, number, started, ms, error.type, error.message[:_MESSAGE_LENGTH])


def _whole_number(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) else 0


def _ms_since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000
