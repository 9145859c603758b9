"""What the store does with client keys: made, read, revoked, deleted."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import delete, func, insert, or_, select, update

from coordinators.stored_keys import StoredKey
from coordinators.usage_tables import keys

if TYPE_CHECKING:
    from sqlalchemy import Connection

Version: TypeAlias = tuple[int, float]
"""How many keys there are, and when one of them was last changed."""

_FIELDS = [field.name for field in fields(StoredKey)]


class NameTaken(Exception):
    """There is a key of this name, that was not revoked."""


def create(connection: Connection, key: StoredKey) -> None:
    """Add a key; raises NameTaken."""
    taken = select(keys.c.id).where(keys.c.name == key.name, keys.c.revoked_at.is_(None))
    if connection.execute(taken).first() is not None:
        raise NameTaken(key.name)
    values = asdict(key) | {"models": json.dumps(key.models), "changed_at": time.time()}
    connection.execute(insert(keys), values)


def read_all(connection: Connection) -> list[StoredKey]:
    """Give all keys, the oldest first, those that were revoked among them."""
    rows = connection.execute(select(*(keys.c[name] for name in _FIELDS)).order_by(keys.c.created_at))
    return [_key(dict(row)) for row in rows.mappings()]


def version(connection: Connection) -> Version:
    """Give what changes whenever a key is made, revoked or deleted."""
    count, changed = connection.execute(select(func.count(), func.max(keys.c.changed_at))).one()
    return int(count), float(changed or 0.0)


def revoke(connection: Connection, named: str) -> StoredKey | None:
    """Revoke the key of this name or id; None if there is none that is not revoked."""
    found = connection.execute(
        select(keys.c.id).where(or_(keys.c.id == named, keys.c.name == named), keys.c.revoked_at.is_(None))
    ).scalar()
    if found is None:
        return None
    moment = time.time()
    connection.execute(update(keys).where(keys.c.id == found).values(revoked_at=moment, changed_at=moment))
    return next(key for key in read_all(connection) if key.id == found)


def remove(connection: Connection, named: str) -> int:
    """Delete the revoked keys of this name or id; gives how many. What they used stays."""
    gone = delete(keys).where(or_(keys.c.id == named, keys.c.name == named), keys.c.revoked_at.is_not(None))
    return connection.execute(gone).rowcount


def _key(row: dict[str, Any]) -> StoredKey:
    return StoredKey(**row | {"models": tuple(json.loads(row["models"]))})
