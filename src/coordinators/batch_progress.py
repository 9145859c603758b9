"""How far the batches are, as the metrics show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.batch import BatchStore


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """Sums over the batches that have not ended.

    `batches` counts them by state: `in_progress`, `canceling`, `paused`. `requests` counts theirs by state in
    Anthropic's words: `processing`, `succeeded`, `errored`, `canceled`, `expired`. `oldest` is the oldest
    one's age in seconds, 0 without any.
    """

    batches: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    oldest: float = 0.0


class Batches(Protocol):
    """Who knows how far the batches are. Asked once a scrape."""

    async def progress(self) -> BatchProgress:
        """Give the sums; raises `tasks.batch.StoreFailed`."""
        ...


class StoredBatches:
    """The batches of a store (`Batches`)."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store

    async def progress(self) -> BatchProgress:
        """Give the sums; raises StoreFailed."""
        batches = dict.fromkeys(("in_progress", "canceling", "paused"), 0)
        requests: dict[str, int] = {}
        oldest = 0.0
        for batch in await self._store.open_batches():
            batches["paused" if batch.paused else batch.status] += 1
            for outcome, count in asdict(batch.counts).items():
                requests[outcome] = requests.get(outcome, 0) + count
            oldest = max(oldest, (datetime.now(UTC) - batch.created_at).total_seconds())
        return BatchProgress(batches, requests, oldest)
