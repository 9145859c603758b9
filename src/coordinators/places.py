"""Places at a backend: how many requests it has at once, and how many wait."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from wire.errors import Overloaded

_COME_BACK = 1.0


class NoPlace(Overloaded):
    """The backend has all the requests it may have, and its queue is full."""


class Places:
    """At most `limit` requests run and `queue` wait, first come, first served; `limit` 0 is without end."""

    __slots__ = ("_limit", "_name", "_queue", "_waiting", "running")

    def __init__(self, name: str, *, limit: int = 0, queue: int = 0) -> None:
        self._name = name
        self._limit = limit
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return len(self._waiting)

    @property
    def free(self) -> bool:
        """Whether a request would not have to wait."""
        return not self._limit or (self.running < self._limit and not self._waiting)

    async def wait(self) -> None:
        """Wait for a place and take it; raises NoPlace when too many wait. Not needed where one is `free`."""
        if len(self._waiting) >= self._queue:
            raise NoPlace(
                f"{self._name} has all the requests it may have at once; try again", retry_after=_COME_BACK
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # a place came free in the same moment, and passed it over
                    self._waiting.remove(turn)
            else:
                self.leave()  # the place came in the same moment: pass it on
            raise

    def leave(self) -> None:
        """Give the place back, or straight to whoever waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
