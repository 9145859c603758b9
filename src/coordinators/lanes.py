"""The ways to one backend: a lane for each of its keys, and the places they share.

What the flows see of a backend is this. A lane that fails cools down by itself; the others go on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from coordinators.breaker import Breaker
from coordinators.places import NoPlace, Places
from coordinators.scrubbing import without_password
from wire.errors import (
    BillingRequired,
    KeyRefused,
    Overloaded,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from tasks.backend import Backend, CountsTokens, Outgoing, Reply, Target, Upstream
    from wire.errors import GatewayError

_ABOUT_THE_KEY = (KeyRefused, BillingRequired)
_ABOUT_THE_BACKEND = (UpstreamFailed, UpstreamTimeout, Overloaded)
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Cooling:
    """When a lane cools down: after so many failures in a row (0: never), for so many seconds."""

    after: int = 5
    seconds: float = 30.0


class BackendLanes:
    """One backend, by all of its keys (`tasks.backend.Lanes`).

    `backends` are the same backend with one key each, with their weights. They share `places`.
    """

    def __init__(
        self,
        backends: Sequence[tuple[Backend, int]],
        *,
        cooling: Cooling | None = None,
        places: Places | None = None,
    ) -> None:
        first = backends[0][0]
        self.name = first.name
        self.base_url = first.base_url
        self.places = places or Places(first.name)
        cooling = cooling or Cooling()
        self._lanes = [BackendLane(self, backend, weight, cooling) for backend, weight in backends]
        self._only = self._lanes[0] if len(self._lanes) == 1 else None
        self._first = first
        self.on_change: Callable[[BackendLanes], None] | None = None

    @property
    def size(self) -> int:
        """How many keys there are."""
        return len(self._lanes)

    def backend(self, number: int) -> Backend:
        """Give the backend with one of its keys."""
        return self._lanes[number].backend

    def target(self, asked: str) -> Target:
        """Say what a name means at this backend; raises NotFound."""
        return self._first.target(asked)

    async def list_models(self, seconds: float) -> Reply:
        """Fetch the backend's list of models with a key that works."""
        return await (self._best() or self._lanes[0]).backend.list_models(seconds)

    def pick(self) -> BackendLane:
        """Pick the lane for one attempt; raises what keeps it shut if all are cooling down."""
        lane = self._only
        if lane is None:
            lane = self._best()
        elif not lane.breaker.admits():
            lane = None
        if lane is None:
            raise min(self._lanes, key=lambda one: one.breaker.remaining).shut()
        lane.breaker.enter()
        return lane

    def _best(self) -> BackendLane | None:
        """Share attempts by weight, evenly spread: the lane with the most credit goes, and pays for all."""
        best: BackendLane | None = None
        total = 0
        for lane in self._lanes:
            if lane.breaker.admits():
                total += lane.weight
                lane.credit += lane.weight
                if best is None or lane.credit > best.credit:
                    best = lane
        if best is not None:
            best.credit -= total
        return best

    def changed(self) -> None:
        """Tell who wants to know that a lane began to cool down, or is back."""
        if self.on_change is not None:
            self.on_change(self)

    def others_than(self, lane: BackendLane) -> bool:
        """Say whether another lane admits a call now."""
        return any(one.breaker.admits() for one in self._lanes if one is not lane)

    def load(self) -> dict[str, Any]:
        """Give what the metrics show: each lane's state, the calls under way and those that wait."""
        return {
            "name": self.name,
            "lanes": [lane.breaker.state for lane in self._lanes],
            "running": self.places.running,
            "waiting": self.places.waiting,
        }

    def state(self) -> dict[str, Any]:
        """Give what `/health/detailed` shows: keys by number, never themselves."""
        lanes = [{"key": number, **lane.state()} for number, lane in enumerate(self._lanes, 1)]
        states = {lane["state"] for lane in lanes}
        best = next(state for state in ("closed", "half_open", "open") if state in states)
        return {
            "name": self.name,
            "base_url": without_password(self.base_url),
            "state": best,
            "running": self.places.running,
            "waiting": self.places.waiting,
            "keys": lanes,
        }


class BackendLane:
    """One key's way to the backend (`tasks.backend.Lane`)."""

    __slots__ = ("_lanes", "_places", "_shut_by", "backend", "breaker", "credit", "weight")

    def __init__(self, lanes: BackendLanes, backend: Backend, weight: int, cooling: Cooling) -> None:
        self._lanes = lanes
        self._places = lanes.places
        self._shut_by: GatewayError | None = None
        self.backend = backend
        self.breaker = Breaker(after=cooling.after, seconds=cooling.seconds)
        self.weight = weight
        self.credit = 0

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send and read the whole answer, in a place of the backend's."""
        places = self._places
        if places.free:
            places.running += 1
        else:
            await places.wait()
        try:
            return await self.backend.send(outgoing)
        finally:
            places.leave()

    async def open_stream(self, outgoing: Outgoing) -> Upstream:
        """Send and return once the status has come; the place is held until the stream is closed."""
        places = self._places
        if places.free:
            places.running += 1
        else:
            await places.wait()
        try:
            upstream = await self.backend.open_stream(outgoing)
        except BaseException:
            places.leave()
            raise
        return _Held(upstream, places)

    async def count_tokens(self, outgoing: Outgoing) -> Reply:
        """Ask a backend that counts tokens; counts need no place."""
        return await cast("CountsTokens", self.backend).count_tokens(outgoing)

    def succeeded(self) -> None:
        """Say that the backend answered."""
        if self.breaker.succeed():
            self._lanes.changed()

    def failed(self, error: GatewayError) -> bool:
        """Say what an attempt raised; True if the next key is to be tried at once."""
        several = self._lanes.size > 1
        if isinstance(error, NoPlace):
            return False
        if isinstance(error, (*_ABOUT_THE_KEY, RateLimited)) and several:
            wait = error.retry_after if isinstance(error, RateLimited) else None
            self._fail(error, at_once=True, seconds=wait)
            return self._lanes.others_than(self)
        if isinstance(error, (*_ABOUT_THE_KEY, *_ABOUT_THE_BACKEND)):
            self._fail(error)
        elif not isinstance(error, RateLimited):
            self.succeeded()  # it refused the request: so it is there
        return False

    def _fail(self, error: GatewayError, *, at_once: bool = False, seconds: float | None = None) -> None:
        self._shut_by = error
        if self.breaker.fail(type(error).__name__, at_once=at_once, seconds=seconds):
            self._lanes.changed()

    def shut(self) -> GatewayError:
        """Give the error for a request that finds every lane cooling down: about the key, if that is why."""
        wait = min(_LONGEST_WAIT, max(1.0, math.ceil(self.breaker.remaining)))
        by = self._shut_by
        if isinstance(by, _ABOUT_THE_KEY):
            return type(by)(by.message, retry_after=wait)
        why = type(by).__name__ if by is not None else "failures"
        return Overloaded(
            f"{self._lanes.name} failed again and again ({why}) and is left alone for {wait:g} s",
            retry_after=wait,
        )

    def state(self) -> dict[str, Any]:
        """Give what `/health/detailed` shows of this key's way."""
        breaker = self.breaker
        at = None if breaker.failed_at is None else datetime.fromtimestamp(breaker.failed_at, UTC)
        return {
            "state": breaker.state,
            "weight": self.weight,
            "last_error": breaker.last_error,
            "last_error_at": None if at is None else at.isoformat(timespec="seconds"),
        }


class _Held:
    """An upstream's answer that holds a place until it is closed."""

    __slots__ = ("_places", "_upstream", "headers", "status")

    def __init__(self, upstream: Upstream, places: Places) -> None:
        self._upstream = upstream
        self._places: Places | None = places
        self.status: int = upstream.status
        self.headers: Mapping[str, str] = upstream.headers

    def chunks(self) -> AsyncIterator[bytes]:
        return self._upstream.chunks()

    async def read(self) -> bytes:
        return await self._upstream.read()

    async def close(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.leave()
        await self._upstream.close()
