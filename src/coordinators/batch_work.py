"""What becomes of a batch's requests: what is pending, results recorded once, chunks and batches ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import and_, exists, func, insert, literal, select, update

from coordinators.batch_leases import held_batch, held_chunk
from coordinators.batch_reading import batch, last_within, numbered
from coordinators.batch_tables import (
    CANCELING,
    ENDED,
    IN_PROGRESS,
    OPEN,
    OUTCOMES,
    attempts,
    batches,
    chunks,
    items,
    results,
)
from coordinators.database import now
from coordinators.many_rows import insert_rows
from tasks.batch import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from tasks.batch import Batch, FailedAttempt, ItemResult, Lease

_SIZE = chunks.c.last - chunks.c.first + 1
_RECORDED = chunks.c.succeeded + chunks.c.errored + chunks.c.canceled + chunks.c.expired


def pending(connection: Connection, lease: Lease, after: int, limit: int, most_bytes: int) -> list[Item]:
    """Give a chunk's requests that have no result, in order."""
    num = numbered(connection, lease.batch_id)
    waiting = [
        items.c.batch == num,
        items.c.seq > max(after, lease.first - 1),
        items.c.seq <= lease.last,
        ~_has_result(),
    ]
    sizes = select(items.c.seq, func.length(items.c.params)).where(*waiting)
    found = connection.execute(sizes.order_by(items.c.seq).limit(limit))
    last = last_within([(seq, size) for seq, size in found], most_bytes)
    if last is None:
        return []
    wanted = select(items.c.seq, items.c.custom_id, items.c.params).where(*waiting, items.c.seq <= last)
    rows = connection.execute(wanted.order_by(items.c.seq)).all()
    made = _attempts(connection, num, rows[0].seq, last) if rows else {}
    return [Item(row.seq, row.custom_id, row.params, made.get(row.seq, 0)) for row in rows]


def record(
    connection: Connection, lease: Lease, done: Sequence[ItemResult], failed: Sequence[FailedAttempt]
) -> None:
    """Record results and failed attempts of a chunk that is ours; what has a result keeps it."""
    num = held_chunk(connection, lease)
    fresh = _fresh(connection, lease, num, done)
    if fresh:
        insert_rows(connection, results, [_row(num, result) for result in fresh])
        connection.execute(update(chunks).where(_chunk(num, lease.chunk)).values(_sums(fresh)))
    there = _numbers(connection, num, failed)
    rows = {(one.seq, one.number): one for one in failed if (one.seq, one.number) not in there}
    insert_rows(connection, attempts, [_attempt(num, one) for one in rows.values()])


def finish_chunk(connection: Connection, lease: Lease) -> bool:
    """Mark a chunk of ours done if all its requests have a result, and give it back; raises LeaseLost."""
    num = held_chunk(connection, lease)
    finishing = update(chunks).where(_chunk(num, lease.chunk), _RECORDED == _SIZE)
    return bool(connection.execute(finishing.values(done=True, owner=None, lease_until=0)).rowcount)


def fence_off(connection: Connection, lease: Lease) -> list[int]:
    """Take all chunks that are not done from their owners, for a batch that is ours; gives their numbers."""
    num = held_batch(connection, lease)
    left = chunks.c.batch == num, chunks.c.done.is_(False)
    fenced = update(chunks).where(*left).values(owner=None, lease_until=0, fence=chunks.c.fence + 1)
    connection.execute(fenced)
    return list(connection.execute(select(chunks.c.number).where(*left).order_by(chunks.c.number)).scalars())


def close_chunk(
    connection: Connection, lease: Lease, chunk: int, outcome: Literal["canceled", "expired"]
) -> None:
    """Give every request of a chunk that has no result this one, for a batch that is ours."""
    num = held_batch(connection, lease)
    wanted = select(chunks.c.first, chunks.c.last).where(_chunk(num, chunk), chunks.c.done.is_(False))
    span = connection.execute(wanted.with_for_update(key_share=True)).first()
    if span is None:
        return
    rest = select(items.c.batch, items.c.seq, literal(outcome), literal(b"")).where(
        items.c.batch == num, items.c.seq.between(*span), ~_has_result()
    )
    connection.execute(insert(results).from_select(["batch", "seq", "outcome", "body"], rest))
    values = {outcome: chunks.c[outcome] + _SIZE - _RECORDED, "done": True, "owner": None, "lease_until": 0}
    connection.execute(update(chunks).where(_chunk(num, chunk)).values(values))


def end(connection: Connection, lease: Lease) -> Batch | None:
    """End a batch that is ours if every request has a result; raises LeaseLost."""
    num = held_batch(connection, lease)
    undone = exists().where(chunks.c.batch == num, _RECORDED < _SIZE)
    ending = update(batches).where(batches.c.num == num, batches.c.state.in_(OPEN), ~undone)
    values = {"state": ENDED, "ended_at": now(connection), "owner": None, "lease_until": 0, "paused": False}
    if not connection.execute(ending.values(values)).rowcount:
        return None
    connection.execute(
        update(chunks).where(chunks.c.batch == num).values(done=True, owner=None, lease_until=0)
    )
    return batch(connection, lease.batch_id)


def cancel(connection: Connection, batch_id: str) -> Batch | None:
    """Begin to cancel a batch in progress; a pause is over."""
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state == IN_PROGRESS)
        .values(state=CANCELING, cancel_initiated_at=now(connection), paused=False)
    )
    return batch(connection, batch_id)


def pause(connection: Connection, batch_id: str, *, paused: bool) -> Batch | None:
    """Hold back a batch in progress, or let it go on."""
    pausing = update(batches).where(batches.c.id == batch_id, batches.c.state == IN_PROGRESS)
    connection.execute(pausing.values(paused=paused))
    return batch(connection, batch_id)


def set_flow_run(connection: Connection, batch_id: str, flow_run: str) -> None:
    """Say which Prefect run executes the batch."""
    connection.execute(update(batches).where(batches.c.id == batch_id).values(flow_run=flow_run))


def _has_result() -> ColumnElement[bool]:
    return exists().where(results.c.batch == items.c.batch, results.c.seq == items.c.seq)


def _chunk(num: int, number: int | None) -> ColumnElement[bool]:
    return and_(chunks.c.batch == num, chunks.c.number == number)


def _attempts(connection: Connection, num: int | None, first: int, last: int) -> dict[int, int]:
    wanted = select(attempts.c.seq, func.max(attempts.c.number)).where(
        attempts.c.batch == num, attempts.c.seq.between(first, last)
    )
    return {row[0]: row[1] for row in connection.execute(wanted.group_by(attempts.c.seq))}


def _fresh(connection: Connection, lease: Lease, num: int, done: Sequence[ItemResult]) -> list[ItemResult]:
    """Leave out what has a result already. Nobody else adds any: the chunk's row is held."""
    unique = {result.seq: result for result in reversed(done)}
    if not unique:
        return []
    first, last = min(unique), max(unique)
    if first < lease.first or last > lease.last:
        raise ValueError(f"results of items {first} to {last} are not all of chunk {lease.chunk}")
    there = set(
        connection.execute(
            select(results.c.seq).where(results.c.batch == num, results.c.seq.between(first, last))
        ).scalars()
    )
    return [unique[seq] for seq in sorted(unique) if seq not in there]


def _row(num: int, result: ItemResult) -> tuple[Any, ...]:
    """Give the columns of `batch_results` in their order."""
    return (
        num,
        result.seq,
        result.outcome,
        result.attempts,
        result.started,
        result.ms,
        result.input_tokens,
        result.output_tokens,
        result.cost,
        _storable(result.error_type),
        result.error_hash,
        result.body,
    )


def _sums(fresh: list[ItemResult]) -> dict[str, Any]:
    """Say by how much the chunk's sums grow."""
    grown: dict[str, float] = dict.fromkeys(OUTCOMES, 0)
    for result in fresh:
        grown[result.outcome] += 1
    for name in ("input_tokens", "output_tokens", "cost"):
        grown[name] = sum(getattr(result, name) for result in fresh)
    return {name: chunks.c[name] + amount for name, amount in grown.items() if amount}


def _numbers(connection: Connection, num: int, failed: Sequence[FailedAttempt]) -> set[tuple[int, int]]:
    if not failed:
        return set()
    wanted = select(attempts.c.seq, attempts.c.number).where(
        attempts.c.batch == num,
        attempts.c.seq.between(min(one.seq for one in failed), max(one.seq for one in failed)),
    )
    return {(seq, number) for seq, number in connection.execute(wanted)}


def _attempt(num: int, failed: FailedAttempt) -> tuple[Any, ...]:
    """Give the columns of `batch_attempts` in their order."""
    texts = _storable(failed.error_type), _storable(failed.message)
    return (num, failed.seq, failed.number, failed.started, failed.ms, *texts)


def _storable(text: str | None) -> str | None:
    """Replace what a database's text cannot hold: NUL, and halves of surrogate pairs."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
