"""What a worker counts of its requests: plain numbers, to be added up with those of the others.

A request costs one look-up and a few additions here. Names, units and text come when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from coordinators.prices import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coordinators.bounded_names import BoundedNames
    from coordinators.observing import Ending
    from tasks.exchange import Exchange

Cell: TypeAlias = list[float]
Key: TypeAlias = tuple[str, str, str, int, str]  # flow, backend, model, status, error's type

# Where a number stands in a cell. Times are in seconds, cost in dollars.
REQUESTS: Final = 0
SECONDS: Final = 1
FIRST_SECONDS: Final = 2
RETRIES: Final = 3
FALLBACKS: Final = 4
COST: Final = 5
TOKENS: Final = 6  # and the four after it
KINDS = ("input", "output", "cache_read", "cache_creation", "reasoning")
_IN_SUMMARY = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "reasoning_tokens",
)  # fmt: skip
DURATIONS: Final = TOKENS + len(KINDS)

# The boundaries that the GenAI conventions name for each histogram.
DURATION_BOUNDS = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
FIRST_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
TOKEN_BOUNDS = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip
FIRSTS: Final = DURATIONS + len(DURATION_BOUNDS) + 1
INPUTS: Final = FIRSTS + len(FIRST_BOUNDS) + 1
OUTPUTS: Final = INPUTS + len(TOKEN_BOUNDS) + 1
_SIZE: Final = OUTPUTS + len(TOKEN_BOUNDS) + 1

_MOST = 2**40  # of one request: an upstream may say anything, and sums must stay numbers that JSON can hold
CANCELLED = "cancelled"
NOBODY = "none"
CACHE = "cache"


class Counted:
    """The counts of one worker (`coordinators.observing.Observer`).

    `cells` are by flow, backend, model, status and error; `more` are single counters by name. Models are
    those of `models`: a new one is taken in by its first answer that went well. `note` is told of each
    ending's model besides.
    """

    def __init__(self, models: BoundedNames, note: Callable[[Ending, str], None] | None = None) -> None:
        self.cells: dict[Key, Cell] = {}
        self.more: dict[str, float] = {}
        self.changed = False
        self._models = models
        self._note = note

    def ended(self, ending: Ending) -> None:
        """Count a request."""
        self.changed = True
        exchange = ending.exchange
        summary = ending.summary
        tried = exchange.tried
        if tried:
            target = tried[-1]
            backend, model = target.backend, target.model
        else:
            backend, model = _unasked(exchange), exchange.model
        status, error = ending.status, ending.error
        kind = "" if error is None else CANCELLED if status == 499 else type(error).__name__
        cell = self.cells.get((ending.flow, backend, model, status, kind))
        if cell is None:
            model = self._models.admit(model) if status < 400 else self._models.known(model)
            cell = self.cells.setdefault((ending.flow, backend, model, status, kind), [0] * _SIZE)
        seconds = ending.ms / 1000
        cell[REQUESTS] += 1
        cell[SECONDS] += seconds
        cell[DURATIONS + bisect_left(DURATION_BOUNDS, seconds)] += 1
        if tried:
            self._count_upstream(cell, exchange, summary)
        if status < 400 and (told := summary.get("ttft_ms")) is not None:
            cell[FIRST_SECONDS] += told / 1000
            cell[FIRSTS + bisect_left(FIRST_BOUNDS, told / 1000)] += 1
        if exchange.cache is not None:
            self._count_cache(exchange.cache.tags)
        if self._note is not None:
            self._note(ending, model)

    def _count_upstream(self, cell: Cell, exchange: Exchange, summary: Mapping[str, Any]) -> None:
        """Count what an answer from upstream used. What the cache gave was counted when it was made."""
        targets = len(exchange.tried)
        if exchange.attempts > targets:
            cell[RETRIES] += exchange.attempts - targets
        if targets > 1:
            cell[FALLBACKS] += targets - 1
        if isinstance(cost := summary.get("cost_usd"), (int, float)) and 0 < cost < _MOST:
            cell[COST] += cost
        used = [tokens(summary.get(name)) for name in _IN_SUMMARY]
        for place, count in enumerate(used, TOKENS):
            if count:
                cell[place] += count
        if summary.get("output_tokens") is not None:
            fresh, output, read, written, _ = used
            cell[INPUTS + bisect_left(TOKEN_BOUNDS, fresh + read + written)] += 1
            cell[OUTPUTS + bisect_left(TOKEN_BOUNDS, output)] += 1

    def _count_cache(self, tags: list[str]) -> None:
        name = "/".join(tags)  # `cache:hit/cache:stale`: its outcome, and how, where that is no plain one
        self.more[name] = self.more.get(name, 0) + 1


def _unasked(exchange: Exchange) -> str:
    """Say who answered, if no backend was asked."""
    cache = exchange.cache
    return CACHE if cache is not None and cache.outcome == "hit" else NOBODY


def add(total: dict[Any, Any], more: Mapping[Any, Any]) -> None:
    """Add numbers, lists of numbers, and mappings of them, name by name."""
    for name, value in more.items():
        known = total.get(name)
        if isinstance(value, dict):
            if known is None:
                known = total[name] = {}
            add(known, value)
        elif known is None:
            total[name] = [*value] if isinstance(value, list) else value
        elif isinstance(value, list):
            total[name] = [a + b for a, b in zip(known, value, strict=True)]
        else:
            total[name] = known + value
