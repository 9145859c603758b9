"""The models that fail at one lane of a backend: each cools down by itself.

A backend such as OpenRouter passes requests on to many providers: that one of its models fails says nothing
about the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinators.breaker import Breaker

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_MODELS = 100
_LONGEST_NAME = 200


class FailingModels:
    """A breaker for each model that failed when it was last asked; `after` and `seconds` are a breaker's.

    A model that answers is forgotten, so that where all goes well there is nothing to look at. At most
    `MOST_MODELS` are remembered; the one that failed longest ago makes room. Names come from clients: one of
    more than 200 characters, which no model has, is not remembered.
    """

    __slots__ = ("_after", "_seconds", "breakers")

    def __init__(self, *, after: int, seconds: float) -> None:
        self._after = after
        self._seconds = seconds
        self.breakers: dict[str, Breaker] = {}
        """By model; always the same dictionary, and empty while all goes well."""

    def admits(self, model: str) -> bool:
        """Say whether a model may be asked."""
        breaker = self.breakers.get(model)
        return breaker is None or breaker.admits()

    def enter(self, model: str) -> None:
        """Take the admission, as `Breaker.enter` does."""
        breaker = self.breakers.get(model)
        if breaker is not None:
            breaker.enter()

    def remaining(self, model: str) -> float:
        """Give the seconds until a model may be asked."""
        breaker = self.breakers.get(model)
        return 0.0 if breaker is None else breaker.remaining

    def succeed(self, model: str) -> bool:
        """Say that a model answered; True if it was left alone."""
        breaker = self.breakers.pop(model, None)
        return breaker is not None and breaker.succeed()

    def fail(self, model: str, error: str, *, at_once: bool = False, seconds: float | None = None) -> bool:
        """Say that a model failed, as `Breaker.fail` does; True if it is left alone from now on."""
        if not self._after or not model or len(model) > _LONGEST_NAME:
            return False
        breaker = self.breakers.pop(model, None) or Breaker(after=self._after, seconds=self._seconds)
        if len(self.breakers) >= MOST_MODELS:
            del self.breakers[next(iter(self.breakers))]
        self.breakers[model] = breaker
        return breaker.fail(error, at_once=at_once, seconds=seconds)

    def left_alone(self) -> Mapping[str, Breaker]:
        """Give the breakers that are not closed, by their models."""
        return {model: breaker for model, breaker in self.breakers.items() if breaker.state != "closed"}
