"""Batches as tasks and flows know them: nouns, and the store that they ask of. The truth is in the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

ProcessingStatus: TypeAlias = Literal["in_progress", "canceling", "ended"]
Outcome: TypeAlias = Literal["succeeded", "errored", "canceled", "expired"]


class StoreFailed(Exception):
    """The store cannot be used now: it is down, full, or locked for too long."""


class LeaseLost(Exception):
    """Somebody else has what we leased: what was done meanwhile must not be recorded."""


class DuplicateCustomId(Exception):
    """Two requests of one batch have the same `custom_id`, which the message names."""


class KeyTaken(Exception):
    """A batch was made with this idempotency key before: it is `batch`, of a body with `digest`."""

    def __init__(self, batch: Batch, digest: str) -> None:
        super().__init__(batch.id)
        self.batch = batch
        self.digest = digest


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests of a batch are in each state. Anthropic's `request_counts`, but always up to date."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch. Times are aware and in UTC; `headers` are the creating request's `anthropic-*` ones.

    `label` is a name for people (a file's). `flow_run` is the Prefect run that executes it now or did last.
    """

    id: str
    tenant: str
    status: ProcessingStatus
    created_at: datetime
    expires_at: datetime
    items: int
    chunks: int
    counts: Counts
    ended_at: datetime | None = None
    cancel_initiated_at: datetime | None = None
    archived_at: datetime | None = None
    paused: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    flow_run: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class NewItem:
    """One request of a batch being made; `params` is its Messages body as the client wrote it."""

    custom_id: str
    params: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One request that has no result yet. `seq` counts from 0; `attempts` were made before."""

    seq: int
    custom_id: str
    params: bytes
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one request.

    `body` is JSON: the message if it succeeded, the error body if it errored, empty otherwise.
    `started` is in seconds since the epoch, `ms` is how long the last attempt took.
    """

    seq: int
    custom_id: str
    outcome: Outcome
    body: bytes = b""
    attempts: int = 0
    started: float = 0.0
    ms: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    error_type: str | None = None
    error_hash: str | None = None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One call that failed and is to be made again."""

    seq: int
    number: int
    started: float
    ms: float
    error_type: str
    message: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to execute a batch (`chunk` is None) or one chunk of it, until it is lost or released.

    `first` and `last` are the chunk's items, both included. `fence` grows with every owner.
    """

    batch_id: str
    chunk: int | None
    owner: str
    fence: int
    first: int = 0
    last: int = -1


@dataclass(frozen=True, slots=True)
class ChunkState:
    """One chunk as its batch's flow sees it; `leased` says that somebody alive owns it now."""

    number: int
    first: int
    last: int
    done: bool
    leased: bool


class Draft(Protocol):
    """A batch being made: nobody sees it before `commit`, and without it nothing is left."""

    async def add(self, items: Sequence[NewItem]) -> None:
        """Add requests; raises DuplicateCustomId, StoreFailed."""
        ...

    async def commit(self, *, digest: str, expires_at: datetime) -> Batch:
        """Make it a batch in progress; raises KeyTaken, DuplicateCustomId, StoreFailed."""
        ...


class BatchStore(Protocol):
    """Where batches are kept. Every method raises StoreFailed. Leases and fences: see `record`."""

    # -- made and looked at by clients
    def creating(
        self,
        *,
        tenant: str,
        headers: Mapping[str, str],
        idempotency_key: str | None = None,
        label: str | None = None,
    ) -> AbstractAsyncContextManager[Draft]:
        """Make a batch; leaving without a commit deletes what was added."""
        ...

    async def get(self, batch_id: str, tenant: str | None = None) -> Batch | None:
        """Give a batch, of this tenant if one is named."""
        ...

    async def get_by_key(self, tenant: str, idempotency_key: str) -> Batch | None:
        """Give the batch that a tenant made with this key."""
        ...

    async def page(
        self,
        tenant: str | None,
        *,
        before_id: str | None = None,
        after_id: str | None = None,
        limit: int = 20,
    ) -> tuple[list[Batch], bool]:
        """List batches, newest first, and say whether more follow in the direction asked for."""
        ...

    async def is_mark(self, batch_id: str, tenant: str | None) -> bool:
        """Say whether this is the id of a batch that is in the list, or was until a day ago."""
        ...

    async def results(self, batch_id: str, *, after: int = -1, limit: int = 500) -> list[ItemResult]:
        """Give results in the order of `seq`, from behind `after`; none means the end.

        A page also ends at about 4 MB, with at least one result.
        """
        ...

    async def failures(self, batch_id: str, *, limit: int = 50) -> list[ItemResult]:
        """Give results that errored, without their order mattering."""
        ...

    async def failed_items(self, batch_id: str, *, after: int = -1, limit: int = 200) -> list[Item]:
        """Give requests whose result is not a success, in order from behind `after`; none means the end.

        A page also ends at about 8 MB, with at least one request.
        """
        ...

    async def cancel(self, batch_id: str) -> Batch | None:
        """Begin to cancel: `canceling` if it was in progress, otherwise as it is."""
        ...

    async def pause(self, batch_id: str, *, paused: bool) -> Batch | None:
        """Hold back, or let go on, what is not under way."""
        ...

    async def delete(self, batch_id: str) -> bool:
        """Delete an ended batch and all that belongs to it; False if there is none that has ended.

        Its id goes on being a mark in lists for a day.
        """
        ...

    async def name(self) -> str:
        """Give the store's own name, a random one that tells it from every other store."""
        ...

    # -- executed
    async def open_batches(self) -> list[Batch]:
        """Give the batches that have not ended, oldest first."""
        ...

    async def lease_batch(self, batch_id: str, owner: str, seconds: float) -> Lease | None:
        """Take a batch that has not ended and whose lease is free or over; None if it has an owner."""
        ...

    async def lease_chunk(self, batch_id: str, chunk: int, owner: str, seconds: float) -> Lease | None:
        """Take a chunk likewise; None too if it is done."""
        ...

    async def renew(self, lease: Lease, seconds: float) -> None:
        """Hold a lease for longer; raises LeaseLost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back, if it is still ours."""
        ...

    async def forget(self, is_dead: Callable[[str], bool]) -> int:
        """Free the leases of owners that `is_dead` knows to be gone, and give up their drafts; give how many.

        It is asked once for each owner, and must answer at once: nobody else can write meanwhile.
        """
        ...

    async def chunks(self, batch_id: str) -> list[ChunkState]:
        """Give all the chunks."""
        ...

    async def pending(
        self, lease: Lease, *, after: int = -1, limit: int = 200, most_bytes: int = 8 << 20
    ) -> list[Item]:
        """Give a chunk's items without a result, in order from behind `after`; none means the end."""
        ...

    async def record(
        self, lease: Lease, results: Sequence[ItemResult], failed: Sequence[FailedAttempt] = ()
    ) -> None:
        """Record results in one transaction, under the chunk's lease; raises LeaseLost, recording nothing.

        An item that has a result keeps it. Counts and totals change in the same transaction.
        """
        ...

    async def finish_chunk(self, lease: Lease) -> bool:
        """Mark the chunk done and give the lease back; False if some of its items have no result."""
        ...

    async def close_out(self, lease: Lease, outcome: Literal["canceled", "expired"]) -> None:
        """Give every item without a result this one; needs the batch's lease and ends its chunks' leases."""
        ...

    async def end(self, lease: Lease) -> Batch | None:
        """End the batch if every item has a result; None if some have none. Needs the batch's lease."""
        ...

    async def set_flow_run(self, batch_id: str, flow_run: str) -> None:
        """Say which Prefect run executes the batch."""
        ...

    async def reserve(self, name: str, amount: int, per_minute: int) -> float:
        """Take `amount` from a rate that all processes share, a token bucket that holds one second's worth.

        Gives 0.0 if it was taken, otherwise the seconds to wait before asking again.
        """
        ...

    async def sweep(self, *, keep_days: float) -> int:
        """Delete drafts whose maker is gone and batches older than this; give how many."""
        ...
