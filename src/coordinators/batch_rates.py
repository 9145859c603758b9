"""Rates that all processes share, in one statement: token buckets, kept as the time when they are full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, select
from sqlalchemy.dialects import postgresql, sqlite

from coordinators.batch_tables import rates
from coordinators.database import now

if TYPE_CHECKING:
    from sqlalchemy import Connection


def reserve(connection: Connection, name: str, amount: int, per_minute: int) -> float:
    """Take `amount` from a bucket that holds one second's worth, or at least 1; 0.0 says that it was taken.

    Otherwise gives the seconds until it can be. More than the bucket holds is taken from a full one, which
    then owes the rest.
    """
    if per_minute <= 0 or amount <= 0:
        return 0.0
    rate = per_minute / 60
    holds = max(rate, 1.0)
    most_used = (holds - min(amount, holds)) / rate  # in seconds of refilling
    time = now(connection)
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    full_at = case((rates.c.free_at > time, rates.c.free_at), else_=time)
    taking = (
        insert(rates)
        .values(name=name, free_at=time + amount / rate)
        .on_conflict_do_update(
            index_elements=[rates.c.name],
            set_={"free_at": full_at + amount / rate},
            where=rates.c.free_at - time <= most_used,
        )
        .returning(rates.c.name)
    )
    if connection.execute(taking).first() is not None:
        return 0.0
    wait = connection.execute(select(rates.c.free_at - now(connection)).where(rates.c.name == name)).scalar()
    return max(float(wait or 0.0) - most_used, 0.001)
