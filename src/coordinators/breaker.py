"""A circuit breaker: what fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half_open"]


class Breaker:
    """Closed, until `after` failures in a row; open for `seconds`; then half open: one call tries it.

    That call's success closes it, its failure opens it again; until either is told the others still find
    it open. `after` 0 means that it never opens. On the healthy path it costs two comparisons.
    """

    __slots__ = ("_after", "_failures", "_opened", "_seconds", "_until", "failed_at", "last_error")

    def __init__(self, *, after: int, seconds: float) -> None:
        self._after = after
        self._seconds = seconds
        self._failures = 0
        self._opened = False
        self._until = 0.0
        self.last_error: str | None = None
        self.failed_at: float | None = None

    @property
    def state(self) -> State:
        """Say where it stands."""
        if not self._opened:
            return "closed"
        return "open" if time.monotonic() < self._until else "half_open"

    @property
    def remaining(self) -> float:
        """Give the seconds until a call may try it; 0 when one may now."""
        return max(0.0, self._until - time.monotonic()) if self._opened else 0.0

    def admits(self) -> bool:
        """Say whether a call may go through."""
        return not self._opened or time.monotonic() >= self._until

    def enter(self) -> None:
        """Take the admission. A half open one admits nobody else for another pause: this call is the trial.

        A trial that never ends (its client left) so costs one pause, and needs no bookkeeping.
        """
        if self._opened:
            self._until = time.monotonic() + self._seconds

    def succeed(self) -> bool:
        """Say that a call went well; True if that closed it."""
        opened = self._opened
        if self._failures or opened:
            self._failures = 0
            self._opened = False
        return opened

    def fail(self, error: str, *, at_once: bool = False, seconds: float | None = None) -> bool:
        """Say that a call failed, with the error's name; `at_once` opens whatever the count is.

        `seconds` is a pause that the upstream asked for. True if it was closed before and is open now.
        """
        opened = self._opened
        self.note(error)
        self._failures += 1
        if self._after and (at_once or self._opened or self._failures >= self._after):
            self._opened = True
            self._until = time.monotonic() + (self._seconds if seconds is None else seconds)
        return self._opened and not opened

    def note(self, error: str) -> None:
        """Keep an error's name and its time, for who asks what went wrong last, and count nothing."""
        self.last_error = error
        self.failed_at = time.time()
