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

    __slots__ = ("_after", "_breakers", "_seconds")

    def __init__(self, *, after: int, seconds: float) -> None:
        self._after = after
        self._seconds = seconds
        self._breakers: dict[str, Breaker] = {}

    def find(self, model: str) -> Breaker | None:
        """Give the breaker of a model that failed last."""
        return self._breakers.get(model)

    def succeed(self, model: str) -> bool:
        """Say that a model answered; True if it was left alone."""
        if not self._breakers:
            return False
        breaker = self._breakers.pop(model, None)
        return breaker is not None and breaker.succeed()

    def fail(self, model: str, error: str, *, at_once: bool = False, seconds: float | None = None) -> bool:
        """Say that a model failed, as `Breaker.fail` does; True if it is left alone from now on."""
        if not self._after or not model or len(model) > _LONGEST_NAME:
            return False
        breaker = self._breakers.pop(model, None) or Breaker(after=self._after, seconds=self._seconds)
        if len(self._breakers) >= MOST_MODELS:
            del self._breakers[next(iter(self._breakers))]
        self._breakers[model] = breaker
        return breaker.fail(error, at_once=at_once, seconds=seconds)

    def left_alone(self) -> Mapping[str, Breaker]:
        """Give the breakers that are not closed, by their models."""
        return {model: breaker for model, breaker in self._breakers.items() if breaker.state != "closed"}
