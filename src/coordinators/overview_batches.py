"""The batches that the overview shows: those under way, then the newest of the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from tasks.batch import Batch, BatchStore
    from wire.messages import Json

MOST = 20
_OPENING_SECONDS = 0.5


class BatchPeek(Protocol):
    """The store of batches, as far as a look at it costs little."""

    @property
    def opened(self) -> BatchStore | None:
        """The store, if it is open."""
        ...

    @property
    def failed(self) -> str | None:
        """What is wrong with it, if it could not be opened."""
        ...

    def there(self) -> bool:
        """Say whether there is a database to be opened."""
        ...

    async def store(self) -> BatchStore:
        """Open it; raises StoreFailed."""
        ...


class BatchesLately:
    """Looks at the batches for who looks at the overview."""

    def __init__(self, peek: BatchPeek) -> None:
        self._peek = peek
        self._opening: asyncio.Task[None] | None = None

    async def look(self) -> Json:
        """Give the newest batches. Where the store is not open yet it is opened, without waiting for long."""
        peek = self._peek
        if not peek.there():
            return {"rows": [], "note": "No batch was made here yet."}
        if peek.opened is None and (self._opening is None or self._opening.done()):
            self._opening = asyncio.create_task(self._open())
        if self._opening is not None:
            await asyncio.wait({self._opening}, timeout=_OPENING_SECONDS)
        if (store := peek.opened) is None:
            return {"rows": [], "note": peek.failed or "The store of batches is being opened."}
        try:
            under_way = (await store.open_batches())[::-1]
            newest, more = await store.page(None, limit=MOST)
        except StoreFailed:
            return {"rows": [], "note": "The store of batches cannot be used now; see the log."}
        note = None if under_way or newest else "No batch was made here yet."
        known = {one.id for one in under_way}  # however many were made since and have ended
        found = [*under_way, *(one for one in newest if one.id not in known)]
        rows = [_batch(one) for one in found[:MOST]]
        more = more or len(found) > len(rows)
        return {"rows": rows, "note": note, "more": more, "open": len(under_way)}

    async def _open(self) -> None:
        with suppress(StoreFailed):
            await self._peek.store()


def _batch(batch: Batch) -> Json:
    counts = batch.counts
    left = counts.processing
    return {
        "id": batch.id,
        "label": batch.label,
        "status": "paused" if batch.paused and batch.status == "in_progress" else batch.status,
        "items": batch.items,
        "done": batch.items - left,
        "succeeded": counts.succeeded,
        "errored": counts.errored,
        "created": batch.created_at.isoformat(timespec="seconds"),
        "flow_run": batch.flow_run,
        "tokens": batch.input_tokens + batch.output_tokens,
        "cost": batch.cost,
    }
