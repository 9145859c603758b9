"""What is looked after without anybody asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from tasks.clean_cache import delete_expired, open_store, what_is_left

if TYPE_CHECKING:
    from tasks.cache import Cleanable


@pipeline(name="clean_cache")
async def clean_cache(store: Cleanable) -> str:
    """Delete expired answers, and the least recently used beyond the size limit; give a line that says so."""
    await open_store(store)
    try:
        gone = await delete_expired(store)
        return await what_is_left(store, gone)
    finally:
        await store.close()
