"""Clean the store of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step

if TYPE_CHECKING:
    from tasks.cache import Cleanable


@step
async def open_store(store: Cleanable) -> None:
    """Open the store; what is broken is set aside here."""
    await store.open()


@step
async def delete_expired(store: Cleanable) -> int:
    """Delete what has expired and what is too much; give how many entries."""
    return await store.clean()


@step
async def what_is_left(store: Cleanable, gone: int) -> str:
    """Say what was deleted and what is left."""
    return f"{gone} entries deleted; {await store.totals()}"
