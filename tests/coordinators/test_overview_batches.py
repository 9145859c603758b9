"""Which batches the overview shows, and how far they are, from a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinators.overview_batches import MOST, BatchesLately
from tasks.batch import StoreFailed
from tests.coordinators.batch_samples import chunk_of, ended, make, result

if TYPE_CHECKING:
    from coordinators.batch_store import SqlBatchStore


class Peek:
    """A store that is open, or cannot be opened."""

    def __init__(self, store: SqlBatchStore | None) -> None:
        self.opened = store
        self.failed = None if store is not None else "the store of batches cannot be opened"

    def there(self) -> bool:
        return True

    async def store(self) -> SqlBatchStore:
        if self.opened is None:
            raise StoreFailed("down")
        return self.opened


async def test_what_is_under_way_is_shown_however_many_have_ended_since(store: SqlBatchStore) -> None:
    lately = BatchesLately(Peek(store))
    assert (await lately.look())["note"] == "No batch was made here yet."
    slow = await make(store)
    for number in range(MOST + 2):
        await ended(store, await make(store, 1, key=f"key {number}"))
    shown = await lately.look()
    assert (shown["open"], shown["more"], shown["note"], len(shown["rows"])) == (1, True, None, MOST)
    assert (shown["rows"][0]["id"], shown["rows"][0]["done"], shown["rows"][0]["items"]) == (slow.id, 0, 10)
    assert {row["status"] for row in shown["rows"][1:]} == {"ended"}

    lease = await chunk_of(store, slow)
    await store.record(lease, [result(0), result(1, "errored")])
    first = (await lately.look())["rows"][0]
    assert (first["done"], first["succeeded"], first["errored"]) == (2, 1, 1)
    await store.pause(slow.id, paused=True)
    assert (await lately.look())["rows"][0]["status"] == "paused"


async def test_a_store_that_is_down_leaves_a_sentence() -> None:
    assert await BatchesLately(Peek(None)).look() == {
        "rows": [],
        "note": "the store of batches cannot be opened",
    }
