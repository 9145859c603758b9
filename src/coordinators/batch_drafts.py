"""Batches being made: rows that nobody sees until the draft becomes a batch, in one small transaction."""

from __future__ import annotations

import json
import secrets
import string
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from coordinators.batch_reading import batch
from coordinators.batch_tables import DRAFT, IN_PROGRESS, batches, chunks, items
from coordinators.database import now
from coordinators.many_rows import insert_rows
from tasks.batch import DuplicateCustomId, KeyTaken, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from coordinators.database import Database
    from tasks.batch import Batch, NewItem

DRAFT_SECONDS = 3600.0  # a draft that gets nothing for so long is given up
_ADD_BYTES = 1 << 20
_ADD_ITEMS = 500
_ASK_ITEMS = 500
_LETTERS = string.ascii_letters + string.digits


def begin_draft(
    connection: Connection, tenant: str, headers: Mapping[str, str], label: str | None, maker: str | None
) -> tuple[int, str]:
    """Make a draft; gives its number and id."""
    name = "msgbatch_" + "".join(secrets.choice(_LETTERS) for _ in range(24))
    making = insert(batches).values(
        id=name,
        tenant=tenant,
        state=DRAFT,
        created_at=now(connection),
        headers=json.dumps(dict(headers)),
        label=label,
        owner=maker,
        lease_until=now(connection) + DRAFT_SECONDS,
    )
    return int(connection.execute(making.returning(batches.c.num)).scalar_one()), name


class SqlDraft:
    """One draft; see tasks.batch.Draft."""

    def __init__(
        self, database: Database, num: int, id_: str, chunk: int, key: tuple[str, str | None]
    ) -> None:
        self.num = num
        self.committed = False
        self._database = database
        self._id = id_
        self._chunk = chunk
        self._tenant, self._key = key
        self._items = 0

    async def add(self, new: Sequence[NewItem]) -> None:
        """Add requests, in transactions of about 1 MB; raises DuplicateCustomId, StoreFailed."""
        for group in _groups(new):
            await self._database.check_room()
            try:
                await self._database.write(_add, self.num, self._items, group)
            except IntegrityError:
                raise DuplicateCustomId(await self._database.read(_duplicate, self.num, group)) from None
            self._items += len(group)

    async def commit(self, *, digest: str, expires_at: datetime) -> Batch:
        """Make it a batch in progress; raises KeyTaken, StoreFailed."""
        values = {
            "digest": digest,
            "expires_at": expires_at.timestamp(),
            "size": self._items,
            "idempotency_key": self._key,
        }
        try:
            made = await self._database.write(_commit, self.num, self._id, self._chunk, values)
        except IntegrityError:
            first = await self._database.read(of_key, self._tenant, self._key)
            if first is None:
                raise StoreFailed("a batch with this idempotency key was deleted just now") from None
            raise KeyTaken(*first) from None
        self.committed = True
        return made


def _groups(new: Sequence[NewItem]) -> list[list[NewItem]]:
    """Part requests into groups of at most 500 and about 1 MB."""
    groups: list[list[NewItem]] = []
    size = 0
    for item in new:
        if not groups or size + len(item.params) > _ADD_BYTES or len(groups[-1]) >= _ADD_ITEMS:
            groups.append([])
            size = 0
        groups[-1].append(item)
        size += len(item.params)
    return groups


def _add(connection: Connection, num: int, first: int, new: list[NewItem]) -> None:
    _touch(connection, num, lease_until=now(connection) + DRAFT_SECONDS)
    rows = [(num, seq, item.custom_id, item.params) for seq, item in enumerate(new, first)]
    insert_rows(connection, items, rows)


def _touch(connection: Connection, num: int, **values: Any) -> None:
    touching = update(batches).where(batches.c.num == num, batches.c.state == DRAFT).values(**values)
    if not connection.execute(touching).rowcount:
        raise StoreFailed("the batch was given up while it was being made")


def _duplicate(connection: Connection, num: int, new: list[NewItem]) -> str:
    """Find which `custom_id` a group has twice, or has in common with what is there."""
    seen = set()
    for item in new:
        if item.custom_id in seen:
            return item.custom_id
        seen.add(item.custom_id)
    wanted = select(items.c.custom_id).where(items.c.batch == num, items.c.custom_id.in_(seen))
    there = set(connection.execute(wanted).scalars())
    return next((item.custom_id for item in new if item.custom_id in there), "")


def _commit(connection: Connection, num: int, name: str, size: int, values: dict[str, Any]) -> Batch:
    count = values["size"]
    starts = range(0, count, size)
    _touch(
        connection,
        num,
        state=IN_PROGRESS,
        created_at=now(connection),
        chunks=len(starts),
        owner=None,
        lease_until=0,
        **values,
    )
    rows = [(num, number, first, min(first + size, count) - 1) for number, first in enumerate(starts)]
    insert_rows(connection, chunks, rows)
    made = batch(connection, name)
    assert made is not None  # noqa: S101 - it was made above
    return made


def of_key(connection: Connection, tenant: str, key: str | None) -> tuple[Batch, str] | None:
    """Give a tenant's batch that was made with this idempotency key, and its body's digest."""
    wanted = select(batches.c.id, batches.c.digest)
    found = connection.execute(
        wanted.where(batches.c.tenant == tenant, batches.c.idempotency_key == key)
    ).first()
    first = None if found is None else batch(connection, found.id)
    return None if found is None or first is None else (first, found.digest)
