"""What is stored, listed and invalidated by key, tag, model, pattern and age."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import orjson

from wire.errors import InvalidRequest
from wire.timeline import Junk, decode, facts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coordinators.cache_store import Row, Store
    from wire.messages import Json

_AT_ONCE = 500
_FIELDS = ("backend", "model", "asked", "tags", "stored", "ttl", "form", "bytes")
_WORDS = ("key", "model", "pattern", "tag", "tenant")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries: all that is given must hold. `model` and `tag` are exact, `pattern` is a glob over them.

    `tenant` is a digest, as entries show it. Ages are in seconds.
    """

    key: str | None = None
    tag: str | None = None
    model: str | None = None
    pattern: str | None = None
    tenant: str | None = None
    older_than: float | None = None
    younger_than: float | None = None

    def takes(self, row: Row, facts: Json, now: float) -> bool:
        """Say whether an entry is one of them."""
        names = [str(facts.get("model")), str(facts.get("asked"))]
        tags = [str(tag) for tag in facts.get("tags") or ()]
        age = now - _number(facts.get("stored"))
        return (
            (self.key is None or row.key.hex() == self.key)
            and (self.tag is None or self.tag in tags)
            and (self.model is None or self.model in names)
            and (self.pattern is None or any(fnmatchcase(name, self.pattern) for name in names + tags))
            and (self.tenant is None or facts.get("tenant") == self.tenant)
            and (self.older_than is None or age > self.older_than)
            and (self.younger_than is None or age < self.younger_than)
        )


def read_selection(asked: Json) -> tuple[Selection, bool]:
    """Read what is to be invalidated, and whether only to say what would be; raises InvalidRequest."""
    given: dict[str, Any] = {}
    everything = dry_run = False
    for name, value in asked.items():
        if name in _WORDS and isinstance(value, str) and value:
            given[name] = value
        elif name in {"older_than", "younger_than"} and _is_age(value):
            given[name] = float(value)
        elif name == "all" and isinstance(value, bool):
            everything = value
        elif name == "dry_run" and isinstance(value, bool):
            dry_run = value
        else:
            raise InvalidRequest(f"{name[:40]}: is not understood")
    if not given and not everything:
        raise InvalidRequest('say what: key, tag, model, pattern, tenant, older_than, or "all": true')
    return Selection(**given), dry_run


async def select(store: Store, selection: Selection) -> AsyncIterator[tuple[Row, Json]]:
    """Give the entries that are selected; rows that this program did not write are passed over."""
    now = time.time()
    async for rows in store.rows():
        for row in rows:
            try:
                facts = facts_of(row.facts)
            except Junk:
                continue
            if selection.takes(row, facts, now):
                yield row, facts


async def page(store: Store, selection: Selection, *, offset: int, limit: int, bodies_of: str | None) -> Json:
    """List entries, `limit` of them after `offset`. `bodies_of` is the tenant whose answers may be shown."""
    found: list[Json] = []
    place = 0
    async for row, facts in select(store, selection):
        place += 1
        if place <= offset:
            continue
        if len(found) == limit:
            return {"data": found, "has_more": True, "next_offset": offset + limit}
        shown = _shown(row, facts)
        if bodies_of is not None and facts.get("tenant") == bodies_of:
            shown["message"] = await _message(store, row.key)
        found.append(shown)
    return {"data": found, "has_more": False, "next_offset": None}


async def invalidate(store: Store, selection: Selection, *, dry_run: bool) -> Json:
    """Delete what is selected; give how many entries and bytes, and the first keys."""
    keys, size = [], 0
    async for row, _ in select(store, selection):
        keys.append(row.key)
        size += row.size
    gone = 0
    for start in range(0, 0 if dry_run else len(keys), _AT_ONCE):
        gone += await store.delete(keys[start : start + _AT_ONCE])
    return {
        "matched": len(keys),
        "bytes": size,
        "deleted": gone,
        "dry_run": dry_run,
        "keys": [key.hex() for key in keys[:100]],
    }


def _shown(row: Row, facts: Json) -> Json:
    stored = _number(facts.get("stored"))
    summary = facts.get("summary") or {}
    return {
        "key": row.key.hex(),
        "tenant": facts.get("tenant"),
        **{name: facts.get(name) for name in _FIELDS},
        "age": round(time.time() - stored, 1),
        "expires": round(row.expires, 3),
        "last_used": round(row.used, 3),
        "bytes_stored": row.size,
        "stop_reason": summary.get("stop_reason"),
        "output_tokens": summary.get("output_tokens"),
        "cost_usd": summary.get("cost_usd"),
    }


async def _message(store: Store, key: bytes) -> Any:
    """Give the stored Message; None if it went, or only its stream is known."""
    try:
        value = await store.get(key)
        return None if value is None else orjson.loads(decode(key, value).message() or b"null")
    except (Junk, ValueError):
        return None


def _is_age(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
