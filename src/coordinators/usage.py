"""What requests used: summed up in this process by day, tenant, model, backend and session, for the store.

A request costs a few additions here. Sums are taken out as parcels, every couple of seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from coordinators.prices import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.limits import Limits
    from coordinators.observing import Ending

Place: TypeAlias = tuple[str, str, str, str, str]  # the names in PLACE
Window: TypeAlias = tuple[str, str]  # period, tenant: see `usage_tables`
Sums: TypeAlias = list[float]

PLACE = ("day", "tenant", "model", "backend", "session")
COUNTS = (
    "requests", "errors", "cached", "refused", "unpriced",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "timed",
)  # fmt: skip
AMOUNTS = ("cost", "estimated", "took_ms")

# Where a number stands in a row's sums.
REQUESTS: Final = 0
ERRORS: Final = 1
CACHED: Final = 2  # answered from our own cache: no tokens, no cost
REFUSED: Final = 3  # by the key's limits; not among the requests
UNPRICED: Final = 4  # used tokens of which nobody knows the cost
INPUT: Final = 5
OUTPUT: Final = 6
READ: Final = 7
WRITTEN: Final = 8
TIMED: Final = 9  # answered well by a backend: those that TOOK is the sum of
COST: Final = 10
ESTIMATED: Final = 11  # the part of the cost that comes from a price table
TOOK: Final = 12  # milliseconds from a request's arrival to its last byte
SIZE: Final = 13

CACHE = "cache"
NOBODY = "none"
OTHERS = "(others)"
_MOST_COST = 1e6  # dollars of one request: an upstream may say anything
_LONGEST = 100
_MODELS = 1000
_NEW: Sums = [0] * SIZE


@dataclass(frozen=True, slots=True)
class Parcel:
    """What was summed up since the last one. `number` counts up from 1, in this process."""

    number: int
    rows: Mapping[Place, Sums]
    windows: Mapping[Window, Sums]


class Usage:
    """Sums up what requests used (`coordinators.observing.Observer`).

    No more than `most` rows wait to be stored: what is beyond them is summed up without its session and
    model. With `keep` off only the limits are told, and nothing waits.
    """

    def __init__(self, limits: Limits, *, keep: bool = True, most: int = 5000) -> None:
        self._limits = limits
        self._keep = keep
        self._most = most
        self._rows: dict[Place, Sums] = {}
        self._models: set[str] = set()
        self._day = ""
        self._day_ends = 0.0
        self._number = 0

    @property
    def waiting(self) -> bool:
        """Whether there is something to store."""
        return bool(self._rows) or self._limits.changed

    def ended(self, ending: Ending) -> None:
        """Count a request, if it was let in on somebody's account."""
        exchange, summary = ending.exchange, ending.summary
        tenant = exchange.tenant
        if not tenant:
            return
        tried = exchange.tried
        used = charged = 0
        cost: Any = None
        if tried:
            target = tried[-1]
            model, backend = target.model, target.backend
            fresh, made = tokens(summary.get("input_tokens")), tokens(summary.get("output_tokens"))
            kept = tokens(summary.get("cache_creation_input_tokens"))
            read = tokens(summary.get("cache_read_input_tokens"))
            charged = fresh + made + kept
            used = charged + read
            cost = summary.get("cost_usd")
        else:
            model = exchange.model
            backend = CACHE if ending.status < 400 else NOBODY
        known = isinstance(cost, (int, float)) and 0 <= cost < _MOST_COST
        self._limits.charge(tenant, charged, cost if known else 0.0)
        if not self._keep:
            return
        sums = self._sums(tenant, model, backend, exchange.session or "", ending.status)
        sums[REQUESTS] += 1
        if (status := ending.status) >= 400 and status != 499:
            sums[ERRORS] += 1
        elif tried and status < 400:
            sums[TIMED] += 1
            sums[TOOK] += ending.ms
        if not tried:
            sums[CACHED] += backend == CACHE
        elif used:
            sums[INPUT] += fresh
            sums[OUTPUT] += made
            sums[READ] += read
            sums[WRITTEN] += kept
            if not known:
                sums[UNPRICED] += 1
        if known:
            sums[COST] += cost
            if summary.get("cost_estimated"):
                sums[ESTIMATED] += cost

    def refused(self, tenant: str, model: str) -> None:
        """Count a request that the key's limits refused."""
        if self._keep:
            self._sums(tenant, model, NOBODY, "", 400)[REFUSED] += 1

    def take(self) -> Parcel:
        """Give what was summed up, and begin anew."""
        rows, self._rows = self._rows, {}
        self._number += 1
        return Parcel(self._number, rows, self._limits.take())

    def _sums(self, tenant: str, model: str, backend: str, session: str, status: int) -> Sums:
        now = time.time()
        if now >= self._day_ends:
            self._day = time.strftime("%Y-%m-%d", time.gmtime(now))
            self._day_ends = (now // 86400 + 1) * 86400
        if model not in self._models:
            model = self._admitted(model, status)
        place = (self._day, tenant, model, backend, session[:_LONGEST])
        sums = self._rows.get(place)
        if sums is None:
            if len(self._rows) >= self._most:
                place = (self._day, tenant, OTHERS, backend, "")
            sums = self._rows.setdefault(place, _NEW.copy())
        return sums

    def _admitted(self, model: str, status: int) -> str:
        """Take a model's name in by the first answer that went well: a client may write anything."""
        model = model[:_LONGEST]
        if model in self._models:
            return model
        if status >= 400 or len(self._models) >= _MODELS:
            return OTHERS
        self._models.add(model)
        return model
