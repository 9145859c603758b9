"""Batches as they are read: rows into `tasks.batch`'s nouns, lists by page, results in order."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from coordinators.batch_tables import MARKS, OPEN, OUTCOMES, SEEN, batches, chunks, facts, items, results
from tasks.batch import Batch, Counts, Item, ItemResult, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row, Select

_PAGE_BYTES = 4 << 20
_ITEM_BYTES = 8 << 20
_RESULT = [
    items.c.custom_id if one.name == "custom_id" else results.c[one.name] for one in fields(ItemResult)
]


def batch(connection: Connection, batch_id: str, tenant: str | None = None) -> Batch | None:
    """Give a batch, of this tenant if one is named; neither drafts nor what is being deleted."""
    found = _batches(connection, select(batches.c.num).where(batches.c.id == batch_id, *_seen_by(tenant)))
    return found[0] if found else None


def store_name(connection: Connection) -> str:
    """Give the store's own name."""
    return str(connection.execute(select(facts.c.value).where(facts.c.name == "store")).scalar_one())


def open_batches(connection: Connection) -> list[Batch]:
    """Give the batches that have not ended, oldest first."""
    return _batches(connection, select(batches.c.num).where(batches.c.state.in_(OPEN)))[::-1]


def page(
    connection: Connection, tenant: str | None, before_id: str | None, after_id: str | None, limit: int
) -> tuple[list[Batch], bool]:
    """List batches, newest first, from behind `after_id` or up to `before_id`; see BatchStore.page.

    A mark may have been deleted meanwhile; one that is no batch of this tenant's gives an empty page.
    """
    wanted = select(batches.c.num).where(*_seen_by(tenant))
    for mark, older in ((after_id, True), (before_id, False)):
        if mark is not None:
            place = _place(connection, mark, tenant)
            if place is None:
                return [], False
            wanted = wanted.where(_beyond(place, older=older))
    towards_newer = before_id is not None and after_id is None
    order = (batches.c.created_at, batches.c.num)
    wanted = wanted.order_by(*(order if towards_newer else [column.desc() for column in order]))
    numbers = list(connection.execute(wanted.limit(limit + 1)).scalars())
    found = _batches(connection, numbers[:limit]) if numbers else []
    return found, len(numbers) > limit


def is_mark(connection: Connection, batch_id: str, tenant: str | None) -> bool:
    """Say whether a list has, or had until a day ago, a batch with this id."""
    return _place(connection, batch_id, tenant) is not None


def numbered(connection: Connection, batch_id: str) -> int | None:
    """Give the number that rows refer to a batch by, if it is there to be seen."""
    return connection.execute(
        select(batches.c.num).where(batches.c.id == batch_id, batches.c.state.in_(SEEN))
    ).scalar()


def result_page(connection: Connection, batch_id: str, after: int, limit: int) -> list[ItemResult]:
    """Give results in order, from behind `after`: at most `limit`, and about 4 MB of them.

    A batch deleted meanwhile is StoreFailed: its end must not be taken for the end of its results.
    """
    num = numbered(connection, batch_id)
    if num is None:
        if after >= 0:
            raise StoreFailed("the batch was deleted while its results were read")
        return []
    sizes = connection.execute(
        select(results.c.seq, func.length(results.c.body))
        .where(results.c.batch == num, results.c.seq > after)
        .order_by(results.c.seq)
        .limit(limit)
    )
    last = last_within([(seq, size) for seq, size in sizes], _PAGE_BYTES)
    if last is None:
        return []
    return _results(connection, num, results.c.seq > after, results.c.seq <= last)


def failures(connection: Connection, batch_id: str, limit: int) -> list[ItemResult]:
    """Give the first results that errored."""
    num = numbered(connection, batch_id)
    if num is None:
        return []
    return _results(connection, num, results.c.outcome == "errored", limit=limit)


def failed_items(connection: Connection, batch_id: str, after: int, limit: int) -> list[Item]:
    """Give requests that have a result other than a success, in order: at most `limit`, and about 8 MB."""
    num = numbered(connection, batch_id)
    same = and_(items.c.batch == results.c.batch, items.c.seq == results.c.seq)
    failed = [results.c.batch == num, results.c.seq > after, results.c.outcome != "succeeded"]
    sizes = select(items.c.seq, func.length(items.c.params)).join(results, same).where(*failed)
    found = connection.execute(sizes.order_by(items.c.seq).limit(limit))
    last = last_within([(seq, size) for seq, size in found], _ITEM_BYTES)
    if num is None or last is None:
        return []
    wanted = select(items.c.seq, items.c.custom_id, items.c.params, results.c.attempts).join(results, same)
    rows = connection.execute(wanted.where(*failed, results.c.seq <= last).order_by(items.c.seq))
    return [Item(row.seq, row.custom_id, row.params, row.attempts) for row in rows]


def last_within(sizes: list[tuple[int, int]], most_bytes: int) -> int | None:
    """Give the last `seq` such that all up to it are at most that large together; the first is always in."""
    last, total = None, 0
    for seq, size in sizes:
        total += size
        if last is not None and total > most_bytes:
            break
        last = seq
    return last


def _results(
    connection: Connection, num: int, *which: ColumnElement[bool], limit: int | None = None
) -> list[ItemResult]:
    wanted = (
        select(*_RESULT)
        .join(items, and_(items.c.batch == results.c.batch, items.c.seq == results.c.seq))
        .where(results.c.batch == num, *which)
        .order_by(results.c.seq)
        .limit(limit)
    )
    return [ItemResult(*row) for row in connection.execute(wanted)]


def _seen_by(tenant: str | None, states: Sequence[str] = SEEN) -> list[ColumnElement[bool]]:
    seen: list[ColumnElement[bool]] = [batches.c.state.in_(states)]
    if tenant is not None:
        seen.append(batches.c.tenant == tenant)
    return seen


def _place(connection: Connection, batch_id: str, tenant: str | None) -> Row[tuple[float, int]] | None:
    wanted = select(batches.c.created_at, batches.c.num)
    return connection.execute(wanted.where(batches.c.id == batch_id, *_seen_by(tenant, MARKS))).first()


def _beyond(place: Row[tuple[float, int]], *, older: bool) -> ColumnElement[bool]:
    created, num = place
    if older:
        return or_(batches.c.created_at < created, and_(batches.c.created_at == created, batches.c.num < num))
    return or_(batches.c.created_at > created, and_(batches.c.created_at == created, batches.c.num > num))


def _batches(connection: Connection, numbers: Select[tuple[int]] | list[int]) -> list[Batch]:
    """Give batches with what their chunks sum up to, newest first."""
    wanted = (
        select(
            batches,
            *(func.coalesce(func.sum(chunks.c[name]), 0).label(f"all_{name}") for name in _SUMS),
        )
        .join(chunks, chunks.c.batch == batches.c.num, isouter=True)
        .where(batches.c.num.in_(numbers))
        .group_by(batches.c.num)
        .order_by(batches.c.created_at.desc(), batches.c.num.desc())
    )
    return [_batch(row) for row in connection.execute(wanted)]


_SUMS = (*OUTCOMES, "input_tokens", "output_tokens", "cost")


def _batch(row: Row[Any]) -> Batch:
    counts = {outcome: int(getattr(row, f"all_{outcome}")) for outcome in OUTCOMES}
    return Batch(
        id=row.id,
        tenant=row.tenant,
        status=row.state,
        created_at=_time(row.created_at),
        expires_at=_time(row.expires_at),
        items=row.size,
        chunks=row.chunks,
        counts=Counts(processing=row.size - sum(counts.values()), **counts),
        ended_at=_time_or_none(row.ended_at),
        cancel_initiated_at=_time_or_none(row.cancel_initiated_at),
        archived_at=_time_or_none(row.archived_at),
        paused=row.paused,
        headers=json.loads(row.headers),
        label=row.label,
        flow_run=row.flow_run,
        input_tokens=int(row.all_input_tokens),
        output_tokens=int(row.all_output_tokens),
        cost=float(row.all_cost),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
