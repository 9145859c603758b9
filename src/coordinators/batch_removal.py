"""Batches and drafts deleted: out of sight at once, then their rows in steps, so that nobody waits long.

Of a batch its own row stays for a day, emptied: a client that goes through its batches page by page and
deletes each names the one it deleted last as the mark where the next page begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, or_, select, update

from coordinators.batch_leases import is_abandoned
from coordinators.batch_tables import DELETED, DRAFT, ENDED, GONE, attempts, batches, chunks, items, results
from coordinators.database import now

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from coordinators.database import Database

_STEP = 2000
_MARK_SECONDS = 86400.0


def hide(connection: Connection, batch_id: str) -> int | None:
    """Take an ended batch out of sight, and give its number; None if there is none that has ended."""
    hiding = update(batches).where(batches.c.id == batch_id, batches.c.state == ENDED)
    return connection.execute(
        hiding.values(state=DELETED, idempotency_key=None).returning(batches.c.num)
    ).scalar()


def hide_old(connection: Connection, keep_seconds: float) -> int:
    """Take batches that ended so long ago, and drafts without a maker, out of sight; gives how many."""
    old = (batches.c.state == ENDED) & (batches.c.ended_at < now(connection) - keep_seconds)
    hiding = update(batches).where(or_(old, is_abandoned(connection)))
    return connection.execute(hiding.values(state=DELETED, idempotency_key=None)).rowcount


def give_up(connection: Connection, num: int) -> None:
    """Take a draft out of sight of its maker."""
    connection.execute(
        update(batches).where(batches.c.num == num, batches.c.state == DRAFT).values(state=DELETED)
    )


def hidden(connection: Connection) -> list[int]:
    """Give the numbers of batches whose rows are still to be deleted."""
    return list(connection.execute(select(batches.c.num).where(batches.c.state == DELETED)).scalars())


async def remove(database: Database, num: int) -> None:
    """Delete the rows of a batch that is out of sight; what is left of it after a failure a sweep finds."""
    last = await database.read(_last, num)
    for first in range(0, last + 1, _STEP):
        await database.write(_remove_items, num, first, first + _STEP - 1)
    await database.write(_remove_batch, num)


def _last(connection: Connection, num: int) -> int:
    last = connection.execute(select(func.max(items.c.seq)).where(items.c.batch == num)).scalar()
    return -1 if last is None else int(last)


def _remove_items(connection: Connection, num: int, first: int, last: int) -> None:
    for table in (results, attempts, items):
        connection.execute(delete(table).where(table.c.batch == num, table.c.seq.between(first, last)))


def _remove_batch(connection: Connection, num: int) -> None:
    """Delete a draft's own row; empty a batch's, of which its place in lists stays."""
    connection.execute(delete(chunks).where(chunks.c.batch == num))
    removed = batches.c.num == num, batches.c.state == DELETED
    emptied: dict[str, Any] = {"state": GONE, "archived_at": now(connection), "headers": "{}"}
    emptied |= dict.fromkeys(("label", "flow_run", "digest"))
    connection.execute(update(batches).where(*removed, batches.c.ended_at.is_not(None)).values(emptied))
    connection.execute(delete(batches).where(*removed))


def forget_marks(connection: Connection) -> None:
    """Delete what is left of batches that were deleted a day ago."""
    old = batches.c.archived_at < now(connection) - _MARK_SECONDS
    connection.execute(delete(batches).where(batches.c.state == GONE, old))
