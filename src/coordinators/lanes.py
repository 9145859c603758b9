"""The ways to one backend: a lane for each of its keys, and the places they share.

What the flows see of a backend is this. A lane that fails cools down by itself; the others go on. So does a
model on a lane: what an upstream answers is about the model, what keeps us from asking it is about the lane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from coordinators.breaker import Breaker
from coordinators.failing_models import FailingModels
from coordinators.places import NoPlace, Places
from coordinators.scrubbing import without_password
from tasks.backend import NO_MODEL
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
_ABOUT_THE_MODEL = (UpstreamFailed, UpstreamTimeout, Overloaded)
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Cooling:
    """When a lane or a model on it cools down: after so many failures in a row (0: never), for how long."""

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
        self.on_change: Callable[[BackendLanes, str], None] | None = None

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
        return await (self._best(NO_MODEL) or self._lanes[0]).backend.list_models(seconds)

    def pick(self, model: str) -> BackendLane:
        """Pick the lane for one attempt at a model; raises what keeps it shut if all are cooling down."""
        lane = self._only
        if lane is None:
            lane = self._best(model)
        elif (lane.failing or not lane.breaker.admits()) and not lane.admits(model):
            lane = None
        if lane is None:
            raise min(self._lanes, key=lambda one: one.remaining(model)).shut(model)
        lane.breaker.enter()
        if lane.failing:
            lane.models.enter(model)
        return lane

    def _best(self, model: str) -> BackendLane | None:
        """Share attempts by weight, evenly spread: the lane with the most credit goes, and pays for all."""
        best: BackendLane | None = None
        total = 0
        for lane in self._lanes:
            if lane.admits(model):
                total += lane.weight
                lane.credit += lane.weight
                if best is None or lane.credit > best.credit:
                    best = lane
        if best is not None:
            best.credit -= total
        return best

    def changed(self, model: str = NO_MODEL) -> None:
        """Tell who wants to know that a lane, or a model on it, began to cool down, or is back."""
        if self.on_change is not None:
            self.on_change(self, model)

    def others_than(self, lane: BackendLane, model: str) -> bool:
        """Say whether another lane admits a call now."""
        return any(one.admits(model) for one in self._lanes if one is not lane)

    def models_shut(self) -> list[str]:
        """Give the models that are cooling down on every lane which is not itself."""
        shut = [lane.models_shut() for lane in self._lanes if lane.breaker.state != "open"]
        return sorted(set.intersection(*shut)) if shut else []

    def load(self) -> dict[str, Any]:
        """Give what the metrics show: each lane's state, models shut, calls under way and those that wait."""
        return {
            "name": self.name,
            "lanes": [lane.breaker.state for lane in self._lanes],
            "models_shut": sum(len(lane.models_shut()) for lane in self._lanes),
            "running": self.places.running,
            "waiting": self.places.waiting,
        }

    def state(self) -> dict[str, Any]:
        """Give what `/health/detailed` shows: keys by number, never themselves.

        `state` is that of the best lane as a whole; `models_shut` are those that no lane may be asked for.
        """
        lanes = [{"key": number, **lane.state()} for number, lane in enumerate(self._lanes, 1)]
        states = {lane["state"] for lane in lanes}
        best = next(state for state in ("closed", "half_open", "open") if state in states)
        return {
            "name": self.name,
            "base_url": without_password(self.base_url),
            "state": best,
            "models_shut": self.models_shut(),
            "running": self.places.running,
            "waiting": self.places.waiting,
            "keys": lanes,
        }


class BackendLane:
    """One key's way to the backend (`tasks.backend.Lane`)."""

    __slots__ = (
        "_lanes",
        "_places",
        "_shut_by",
        "backend",
        "breaker",
        "credit",
        "failing",
        "models",
        "weight",
    )

    def __init__(self, lanes: BackendLanes, backend: Backend, weight: int, cooling: Cooling) -> None:
        self._lanes = lanes
        self._places = lanes.places
        self._shut_by: GatewayError | None = None
        self.backend = backend
        self.breaker = Breaker(after=cooling.after, seconds=cooling.seconds)
        self.models = FailingModels(after=cooling.after, seconds=cooling.seconds)
        self.failing = self.models.breakers  # looked at by every request
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

    def admits(self, model: str) -> bool:
        """Say whether a call to a model may go this way."""
        return self.breaker.admits() and (not self.failing or self.models.admits(model))

    def remaining(self, model: str) -> float:
        """Give the seconds until a call to a model may go this way."""
        return max(self.breaker.remaining, self.models.remaining(model))

    def models_shut(self) -> set[str]:
        """Give the models that are cooling down here."""
        return {model for model, breaker in self.models.left_alone().items() if breaker.state == "open"}

    def succeeded(self, model: str) -> None:
        """Say that the backend answered."""
        if self.breaker.succeed():
            self._lanes.changed()
        if self.failing and self.models.succeed(model):
            self._lanes.changed(model)

    def failed(self, error: GatewayError, model: str) -> bool:
        """Say what an attempt raised; True if the next key is to be tried at once."""
        several = self._lanes.size > 1
        if isinstance(error, NoPlace):
            return False
        if isinstance(error, _ABOUT_THE_KEY):
            self._fail(error, at_once=several)
            return several and self._hands_over(model)
        if isinstance(error, RateLimited):
            if several:
                self._fail_at(model, error, at_once=True, seconds=error.retry_after)
            return several and self._hands_over(model)
        if error.unreached:
            self._fail(error)
        elif isinstance(error, _ABOUT_THE_MODEL):
            self._fail_at(model, error)
        else:
            self.succeeded(model)  # it refused the request: so it is there
        return False

    def _hands_over(self, model: str) -> bool:
        """Say whether another lane can go on. While this one admits calls, it might be picked without end."""
        return not self.admits(model) and self._lanes.others_than(self, model)

    def _fail(self, error: GatewayError, *, at_once: bool = False) -> None:
        """Count it against the way as a whole."""
        self._shut_by = error
        if self.breaker.fail(type(error).__name__, at_once=at_once):
            self._lanes.changed()

    def _fail_at(
        self, model: str, error: GatewayError, *, at_once: bool = False, seconds: float | None = None
    ) -> None:
        """Count it against the model. Somebody answered: what kept us from the backend is over.

        Not so a refused key, of which an overloaded upstream may not have thought.
        """
        if not isinstance(self._shut_by, _ABOUT_THE_KEY) and self.breaker.succeed():
            self._lanes.changed()
        name = type(error).__name__
        self.breaker.note(name)
        if self.models.fail(model, name, at_once=at_once, seconds=seconds):
            self._lanes.changed(model)

    def shut(self, model: str) -> GatewayError:
        """Give the error for a request that finds every lane cooling down: about the key, if that is why."""
        wait = min(_LONGEST_WAIT, max(1.0, math.ceil(self.remaining(model))))
        failing = self.failing.get(model)
        if self.breaker.admits() and failing is not None:
            return Overloaded(
                f"{model} failed again and again at {self._lanes.name} ({failing.last_error}) "
                f"and is left alone for {wait:g} s",
                retry_after=wait,
            )
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
