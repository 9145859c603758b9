"""Who executes a batch or a chunk: leases, and the fence that grows with every owner.

A lease whose time is over stays its owner's until another takes it: what that owner then still records is
recorded once all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, update

from coordinators.batch_tables import DRAFT, OPEN, batches, chunks
from coordinators.database import now
from tasks.batch import ChunkState, Lease, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Table, Update


def lease_batch(connection: Connection, batch_id: str, owner: str, seconds: float) -> Lease | None:
    """Take a batch that has not ended and that nobody owns."""
    taken = connection.execute(
        _take(connection, batches, owner, seconds)
        .where(batches.c.id == batch_id, batches.c.state.in_(OPEN))
        .returning(batches.c.fence, batches.c.size)
    ).first()
    return None if taken is None else Lease(batch_id, None, owner, taken.fence, 0, taken.size - 1)


def lease_chunk(
    connection: Connection, batch_id: str, chunk: int, owner: str, seconds: float
) -> Lease | None:
    """Take a chunk that is not done and that nobody owns, of a batch that has not ended."""
    num = select(batches.c.num).where(batches.c.id == batch_id, batches.c.state.in_(OPEN)).scalar_subquery()
    taken = connection.execute(
        _take(connection, chunks, owner, seconds)
        .where(chunks.c.batch == num, chunks.c.number == chunk, chunks.c.done.is_(False))
        .returning(chunks.c.fence, chunks.c.first, chunks.c.last)
    ).first()
    return None if taken is None else Lease(batch_id, chunk, owner, taken.fence, taken.first, taken.last)


def renew(connection: Connection, lease: Lease, seconds: float) -> None:
    """Hold a lease for longer; raises LeaseLost."""
    if not connection.execute(_ours(lease).values(lease_until=now(connection) + seconds)).rowcount:
        raise LeaseLost(lease.batch_id)


def release(connection: Connection, lease: Lease) -> None:
    """Give a lease back, if it is still ours."""
    connection.execute(_ours(lease).values(owner=None, lease_until=0))


def held_batch(connection: Connection, lease: Lease) -> int:
    """Keep a batch's lease ours until the transaction ends, and give the batch's number; raises LeaseLost."""
    wanted = select(batches.c.num).where(_is_ours(batches, lease), batches.c.id == lease.batch_id)
    return _held(connection.execute(wanted.with_for_update(key_share=True)).scalar())


def held_chunk(connection: Connection, lease: Lease) -> int:
    """Keep a chunk's lease ours until the transaction ends, and give the batch's number; raises LeaseLost."""
    wanted = (
        select(chunks.c.batch)
        .join(batches, batches.c.num == chunks.c.batch)
        .where(_is_ours(chunks, lease), chunks.c.number == lease.chunk, batches.c.id == lease.batch_id)
    )
    return _held(connection.execute(wanted.with_for_update(of=chunks, key_share=True)).scalar())


def chunk_states(connection: Connection, batch_id: str) -> list[ChunkState]:
    """Give all chunks of a batch."""
    alive = and_(chunks.c.owner.is_not(None), chunks.c.lease_until > now(connection))
    wanted = (
        select(chunks.c.number, chunks.c.first, chunks.c.last, chunks.c.done, alive.label("leased"))
        .join(batches, batches.c.num == chunks.c.batch)
        .where(batches.c.id == batch_id)
        .order_by(chunks.c.number)
    )
    return [
        ChunkState(row.number, row.first, row.last, bool(row.done), bool(row.leased))
        for row in connection.execute(wanted)
    ]


def forget(connection: Connection, is_dead: Callable[[str], bool]) -> int:
    """Free the leases of owners that are dead, and give up the drafts that they were making."""
    freed = 0
    for table in (batches, chunks):
        owners = connection.execute(select(table.c.owner).where(table.c.owner.is_not(None)).distinct())
        for owner in [owner for owner in owners.scalars() if is_dead(owner)]:
            freeing = update(table).where(table.c.owner == owner).values(owner=None, lease_until=0)
            freed += connection.execute(freeing).rowcount
    return freed


def is_abandoned(connection: Connection) -> ColumnElement[bool]:
    """Say of a draft that its maker has not been heard of for too long."""
    return and_(batches.c.state == DRAFT, batches.c.lease_until <= now(connection))


def _take(connection: Connection, table: Table, owner: str, seconds: float) -> Update:
    free = or_(table.c.owner.is_(None), table.c.lease_until <= now(connection))
    values = {"owner": owner, "lease_until": now(connection) + seconds, "fence": table.c.fence + 1}
    return update(table).where(free).values(values)


def _ours(lease: Lease) -> Update:
    if lease.chunk is None:
        return update(batches).where(batches.c.id == lease.batch_id, _is_ours(batches, lease))
    of_batch = exists().where(batches.c.num == chunks.c.batch, batches.c.id == lease.batch_id)
    return update(chunks).where(chunks.c.number == lease.chunk, _is_ours(chunks, lease), of_batch)


def _is_ours(table: Table, lease: Lease) -> ColumnElement[bool]:
    return and_(table.c.owner == lease.owner, table.c.fence == lease.fence)


def _held(num: Any) -> int:
    if num is None:
        raise LeaseLost("somebody else has it, or nobody")
    return int(num)
