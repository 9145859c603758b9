"""What the cache counts, and how long its look-ups take."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEPT = 2048
_NUMBERS = frozenset({int, float})
_UPSTREAM = {
    "input_tokens": "upstream_input_tokens",
    "cache_read_input_tokens": "upstream_cache_read_tokens",
    "cache_creation_input_tokens": "upstream_cache_write_tokens",
}


class CacheCounts:
    """Counts since they were last taken, to be added to those that all processes share; and latencies."""

    def __init__(self) -> None:
        self._new: defaultdict[str, float] = defaultdict(float)
        self.latencies: dict[str, deque[float]] = {
            name: deque(maxlen=_KEPT) for name in ("hit", "miss", "write")
        }

    def add(self, name: str, by: float = 1) -> None:
        """Count."""
        self._new[name] += by

    def saved(self, summary: Mapping[str, Any]) -> None:
        """Count what a hit saved: `summary` is that of the answer when it was paid."""
        for ours, theirs in (
            ("saved_input_tokens", "input_tokens"),
            ("saved_output_tokens", "output_tokens"),
        ):
            self._new[ours] += _number(summary.get(theirs))
        for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
            self._new["saved_input_tokens"] += _number(summary.get(name))
        self._new["saved_cost_usd"] += _number(summary.get("cost_usd"))

    def asked_upstream(self, summary: Mapping[str, Any]) -> None:
        """Count the usage of an answer that came from upstream."""
        self._new["upstream_answers"] += 1
        for theirs, ours in _UPSTREAM.items():
            if count := summary.get(theirs):
                self._new[ours] += _number(count)

    def take(self) -> dict[str, float]:
        """Give the new counts, and begin again."""
        taken, self._new = dict(self._new), defaultdict(float)
        return taken

    def give_back(self, counts: Mapping[str, float]) -> None:
        """Take back counts that could not be written."""
        for name, count in counts.items():
            self._new[name] += count

    def peek(self) -> dict[str, float]:
        """Give the new counts, and keep them."""
        return dict(self._new)


def percentiles(seconds: Iterable[float]) -> dict[str, float | int]:
    """Give count, p50, p90, p99 and the largest, in milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    told: dict[str, float | int] = {"count": len(ordered)}
    for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99)):
        told[name] = round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 4)
    told["max_ms"] = round(ordered[-1] * 1000, 4)
    return told


def rate(part: float, whole: float) -> float | None:
    """Give a share, to four digits; None of nothing."""
    return round(part / whole, 4) if whole else None


def _number(value: Any) -> float:
    return float(value) if type(value) in _NUMBERS else 0.0
