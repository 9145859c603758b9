"""Try again before the first byte, as long as the client would wait."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from wire.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tasks.backend import Backend, Outgoing
    from tasks.exchange import Exchange

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try again; times in seconds."""

    retries: int = 2
    base: float = 0.5
    cap: float = 8.0
    longest_wait: float = 30.0

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Give the wait before the next attempt: what the upstream asks for, or full jitter."""
        jitter = random.uniform(0, min(self.cap, self.base * 2**attempt))  # noqa: S311 - spreading, no secret
        return jitter if retry_after is None else retry_after + jitter * 0.1


async def attempt(
    call: Callable[[Outgoing, Backend], Awaitable[T]],
    outgoing: Outgoing,
    backend: Backend,
    exchange: Exchange,
    patience: Patience,
) -> T:
    """Await `call` up to `1 + retries` times; raises the last error, or one not worth a retry."""
    while True:
        tried = exchange.attempts
        exchange.attempts += 1
        try:
            return await call(outgoing, backend)
        except GatewayError as error:
            if not error.retryable or tried >= patience.retries:
                raise
            pause = patience.pause(tried, error.retry_after)
            if pause > min(patience.longest_wait, _client_wait(exchange)):
                raise
        await asyncio.sleep(pause)


def _client_wait(exchange: Exchange) -> float:
    """Give the seconds the client says it waits for an answer (SDKs send `x-stainless-timeout`)."""
    try:
        return float(exchange.headers["x-stainless-timeout"])
    except (KeyError, ValueError):
        return float("inf")
