"""Requests and tokens a minute, shared by every process that executes batches."""

from __future__ import annotations

import asyncio
from typing import Protocol

_LOTS_A_SECOND = 4
_LONGEST_WAIT = 5.0


class _Reserves(Protocol):
    async def reserve(self, name: str, amount: int, per_minute: int) -> float: ...


class Pace:
    """What a request waits for before it is sent: a place among those of the minute, and its tokens.

    Tokens are reserved as the input is estimated, at four bytes each; once the answer is there, what it
    really took is made up for by those that follow. `max_tokens` is not reserved: few answers come near it,
    and a batch would crawl. A rate of 0 is none.
    """

    def __init__(self, store: _Reserves, *, requests: int, tokens: int) -> None:
        self._requests = _Rate(store, "requests", requests) if requests else None
        self._tokens = _Rate(store, "tokens", tokens) if tokens else None

    @property
    def limited(self) -> bool:
        """Whether there is any rate."""
        return self._requests is not None or self._tokens is not None

    async def take(self, tokens: int) -> None:
        """Wait until a request with so many input tokens may be sent; raises StoreFailed."""
        if self._requests is not None:
            await self._requests.take(1)
        if self._tokens is not None:
            await self._tokens.take(tokens)

    def settle(self, taken: int, used: int) -> None:
        """Say how many tokens it took in the end."""
        if self._tokens is not None:
            self._tokens.owe(used - taken)


class _Rate:
    """One rate. The store is asked for a quarter of a second's worth at a time, not for every request."""

    def __init__(self, store: _Reserves, name: str, per_minute: int) -> None:
        self._store = store
        self._name = name
        self._per_minute = per_minute
        self._lot = max(1, per_minute // 60 // _LOTS_A_SECOND)
        self._left = 0
        self._turn = asyncio.Lock()

    async def take(self, amount: int) -> None:
        async with self._turn:  # who came first goes first
            while self._left < amount:
                wait = await self._store.reserve(self._name, self._lot, self._per_minute)
                if wait:
                    await asyncio.sleep(min(wait, _LONGEST_WAIT))
                else:
                    self._left += self._lot
            self._left -= amount

    def owe(self, amount: int) -> None:
        """Take from what is left, below nothing too; a negative amount is given back, up to a lot."""
        self._left = min(self._left - amount, max(self._left, self._lot))
