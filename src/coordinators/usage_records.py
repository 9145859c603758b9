"""What the store does with usage: parcels added to its rows, rows folded and summed up (`usage_tables`)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from coordinators.usage import AMOUNTS, COUNTS, PLACE
from coordinators.usage_tables import days, keys, windows, writers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

    from coordinators.usage import Parcel, Sums, Window

_SUMS = (*COUNTS, *AMOUNTS)
_WINDOW_SUMS = ("requests", "tokens", "cost")
_MINUTES_KEPT = timedelta(hours=1)
_WRITERS_KEPT = 86400.0
DAYS_KEPT = 400  # of windows; the usage of a day is kept for good


def record(connection: Connection, writer: str, parcel: Parcel) -> None:
    """Add a parcel to the rows; one that was added already is not added again.

    That happens if the connection is lost after the commit, and the writer was not told of it.
    """
    last = connection.execute(select(writers.c.number).where(writers.c.writer == writer)).scalar()
    if last is not None and last >= parcel.number:
        return
    moment = time.time()
    mine = {"writer": writer, "number": parcel.number, "wrote_at": moment}
    if last is None:
        connection.execute(insert(writers), mine)
    else:
        connection.execute(update(writers).where(writers.c.writer == writer), mine)
    # In the same order by all who write, or two of them could wait for each other.
    rows = sorted((tuple(map(_storable, place)), sums) for place, sums in parcel.rows.items())
    whole = [dict(zip((*PLACE, *_SUMS), (*place, *_typed(sums)), strict=True)) for place, sums in rows]
    if whole:
        connection.execute(_adding(connection, days, _SUMS), whole)
    counted = [
        {"period": period, "tenant": tenant, "requests": sums[0], "tokens": sums[1], "cost": sums[2]}
        for (period, tenant), sums in sorted(parcel.windows.items())
    ]
    if counted:
        connection.execute(_adding(connection, windows, _WINDOW_SUMS), counted)
    for tenant in sorted({tenant for _, tenant in parcel.windows}):
        connection.execute(update(keys).where(keys.c.id == tenant).values(last_used_at=moment))


def read_windows(connection: Connection, periods: Iterable[str]) -> dict[Window, Sums]:
    """Give the sums of all tenants for these periods."""
    wanted = select(windows).where(windows.c.period.in_(list(periods)))
    return {
        (row.period, row.tenant): [row.requests, row.tokens, row.cost]
        for row in connection.execute(wanted)
    }  # fmt: skip


def fold(connection: Connection, keep_days: float) -> int:
    """Sum up the sessions of days that are further back, and drop what limits need no more.

    Gives the number of rows that went.
    """
    today = datetime.now(UTC)
    before = (today - timedelta(days=keep_days)).date().isoformat()
    old = days.c.day < before, days.c.session != ""
    place = [days.c[name] for name in PLACE if name != "session"]
    sums = [func.sum(days.c[name]) for name in _SUMS]
    summed = select(*place, literal(""), *sums).where(*old).group_by(*place)
    gone = int(connection.execute(select(func.count()).select_from(days).where(*old)).scalar_one())
    if gone:
        names = [*(column.name for column in place), "session", *_SUMS]
        adding = _adding(connection, days, _SUMS, summed, names)
        connection.execute(adding)
        connection.execute(delete(days).where(*old))
    minute = (today - _MINUTES_KEPT).strftime("%Y-%m-%dT%H:%M")
    connection.execute(
        delete(windows).where(func.length(windows.c.period) == len(minute), windows.c.period < minute)
    )
    far = (today - timedelta(days=DAYS_KEPT)).date().isoformat()
    connection.execute(delete(windows).where(windows.c.period < far))
    connection.execute(delete(writers).where(writers.c.wrote_at < time.time() - _WRITERS_KEPT))
    return gone


def report(
    connection: Connection, by: Sequence[str], since: str | None = None, until: str | None = None
) -> list[dict[str, Any]]:
    """Sum up by these names of PLACE, for the days from `since` to `until`, both included."""
    dimensions = [days.c[name] for name in by]
    wanted = select(*dimensions, *(func.sum(days.c[name]).label(name) for name in _SUMS))
    if since is not None:
        wanted = wanted.where(days.c.day >= since)
    if until is not None:
        wanted = wanted.where(days.c.day <= until)
    rows = connection.execute(wanted.group_by(*dimensions)).mappings()
    return [{name: _plain(name, value) for name, value in row.items()} for row in rows]


def _adding(
    connection: Connection, table: Table, sums: Sequence[str], select_: Any = None, names: Any = None
) -> SqliteInsert | PostgresInsert:
    """Give the statement that inserts rows, and adds to those that are there."""
    # Written out for both: each dialect has an `Insert` of its own.
    adding: Any = sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
    if select_ is not None:
        adding = adding.from_select(names, select_)
    grown = {name: table.c[name] + adding.excluded[name] for name in sums}
    statement: SqliteInsert | PostgresInsert = adding.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_=grown
    )
    return statement


def _typed(sums: Sums) -> list[float]:
    return [*map(int, sums[: len(COUNTS)]), *map(float, sums[len(COUNTS) :])]


def _plain(name: str, value: Any) -> Any:
    """Give a sum as a number of Python's: PostgreSQL's of large integers are decimals."""
    return int(value) if name in COUNTS else float(value) if name in AMOUNTS else value


def _storable(text: str) -> str:
    """Replace what a database's text cannot hold: NUL, and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
