"""What models were used for by the day: read from the store now and then while somebody looks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from coordinators.usage import OTHERS
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

DAYS = 14
MODELS = 5  # by their names; all others are one
_EVERY = 15.0
_PATIENCE = 0.5

_READING = "What was used by the day is being read."
_FAILED = "The database of usage does not answer now; see the log."
_OFF = "Usage is not stored now (HEADGATE_USAGE=off)."
_NOTHING = "Nothing was used in these days."


@dataclass(slots=True)
class Used:
    """What was used: dollars, of which `estimated` are by a price table, and milliseconds.

    `timed` requests were answered well, and took `took_ms` together. What `unpriced` ones cost, nobody knows.
    """

    requests: int = 0
    errors: int = 0
    unpriced: int = 0
    taken: int = 0
    given: int = 0
    cost: float = 0.0
    estimated: float = 0.0
    timed: int = 0
    took_ms: float = 0.0

    def add(self, other: Used) -> None:
        """Add another's sums to these."""
        self.requests += other.requests
        self.errors += other.errors
        self.unpriced += other.unpriced
        self.taken += other.taken
        self.given += other.given
        self.cost += other.cost
        self.estimated += other.estimated
        self.timed += other.timed
        self.took_ms += other.took_ms

    @property
    def mean_ms(self) -> float | None:
        """How long an answer took on average; None if none was timed."""
        return self.took_ms / self.timed if self.timed else None


@dataclass(frozen=True, slots=True)
class DaysOfUse:
    """The last days' use, the oldest day first, the most used model first; `cells` by day and model.

    `note` says why there is nothing, or nothing newer.
    """

    days: Sequence[str] = ()
    models: Sequence[str] = ()
    cells: Mapping[tuple[str, str], Used] | None = None
    note: str | None = None


class DailyUse:
    """Keeps the last days' use for who looks: asks the store every 15 seconds at most, one time at once.

    `report` sums up what is stored by names of `usage.PLACE`, from a day on; it raises StoreFailed.
    `kept` says that what is used now is stored.
    """

    def __init__(
        self, report: Callable[[Sequence[str], str], Awaitable[list[dict[str, Any]]]], *, kept: bool
    ) -> None:
        self._report = report
        self._kept = kept
        self._known = DaysOfUse(note=_READING)
        self._read_at = ""
        self._began = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def look(self) -> DaysOfUse:
        """Give what is known. It waits for half a second at most, and only if nothing is known yet."""
        reading = self._reading
        if (reading is None or reading.done()) and time.monotonic() - self._began >= _EVERY:
            self._began = time.monotonic()
            self._reading = reading = asyncio.create_task(self._read())
        if reading is not None and self._known.note is _READING:
            await asyncio.wait({reading}, timeout=_PATIENCE)
        if reading is not None and reading.done() and not reading.cancelled():
            reading.result()
        return self._known

    async def _read(self) -> None:
        now = datetime.now(UTC)
        days = [(now - timedelta(days=back)).date().isoformat() for back in range(DAYS - 1, -1, -1)]
        try:
            rows = await self._report(("day", "model"), days[0])
        except StoreFailed:
            of = f" What follows was read at {self._read_at} UTC." if self._read_at else ""
            self._known = replace(self._known, note=_FAILED + of)
            return
        found = await asyncio.to_thread(sum_up, rows, days)
        note = None if self._kept else _OFF
        self._known = replace(found, note=note if found.models else note or _NOTHING)
        self._read_at = f"{now:%H:%M:%S}"


def sum_up(rows: Iterable[Mapping[str, Any]], days: Sequence[str]) -> DaysOfUse:
    """Give the days' use from a report's rows by day and model, the less used models added up as others."""
    kept = set(days)
    found = [row for row in rows if row["requests"] and row["day"] in kept]
    named = _most_used(found)
    known = set(named)
    cells: dict[tuple[str, str], Used] = {}
    for row in found:  # there may be thousands: a model's name comes from a client
        place = (row["day"], row["model"] if row["model"] in known else OTHERS)
        cells.setdefault(place, Used()).add(_used(row))
    others = [OTHERS] if any(model == OTHERS for _, model in cells) else []
    return DaysOfUse(tuple(days), (*named, *others), cells)


def _most_used(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the models with the largest shares of requests and cost, the largest first."""
    requests = sum(row["requests"] for row in rows)
    cost = sum(row["cost"] for row in rows) or 1.0
    shares: dict[str, float] = {}
    for row in rows:
        share = row["requests"] / requests + row["cost"] / cost
        shares[row["model"]] = shares.get(row["model"], 0.0) + share
    shares.pop(OTHERS, None)
    return sorted(shares, key=lambda model: (-shares[model], model))[:MODELS]


def _used(row: Mapping[str, Any]) -> Used:
    return Used(
        requests=row["requests"],
        errors=row["errors"],
        unpriced=row["unpriced"],
        taken=row["input_tokens"] + row["cache_read_tokens"] + row["cache_creation_tokens"],
        given=row["output_tokens"],
        cost=row["cost"],
        estimated=row["estimated"],
        timed=row["timed"],
        took_ms=row["took_ms"],
    )
