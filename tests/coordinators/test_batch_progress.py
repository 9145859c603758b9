"""How far batches are, as metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from coordinators.batch_progress import StoredBatches
from coordinators.instance_families import batch_families
from tasks.batch import Batch, Counts
from tests.fakes.prometheus_lint import problems


class Open:
    """The one method of a store that is asked."""

    def __init__(self, *batches):
        self.batches = list(batches)

    async def open_batches(self):
        return self.batches


def batch(counts, *, status="in_progress", paused=False, age=60):
    made = datetime.now(UTC) - timedelta(seconds=age)
    return Batch("msgbatch_1", "anyone", status, made, made, 10, 1, counts, paused=paused)


async def test_open_batches_are_added_up():
    store = Open(
        batch(Counts(processing=4, succeeded=5, errored=1)),
        batch(Counts(processing=2), paused=True, age=600),
        batch(Counts(canceled=3), status="canceling"),
    )
    progress = await StoredBatches(store).progress()
    assert progress.batches == {"in_progress": 1, "canceling": 1, "paused": 1}
    assert progress.requests == {"processing": 6, "succeeded": 5, "errored": 1, "canceled": 3, "expired": 0}
    assert 600 <= progress.oldest < 700

    class All(Collector):
        def collect(self):
            return batch_families(progress)

    registry = CollectorRegistry()
    registry.register(All())
    text = generate_latest(registry).decode()
    assert problems(text) == []
    assert 'headgate_batch_requests{state="processing"} 6.0' in text


async def test_no_batches_are_none():
    progress = await StoredBatches(Open()).progress()
    assert (sum(progress.batches.values()), progress.oldest) == (0, 0.0)
