"""What is looked after without anybody asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from tasks.clean_cache import delete_expired, open_store, what_is_left
from tasks.clean_logs import delete_old_captures, delete_old_folders
from tasks.fold_usage import fold_sessions

if TYPE_CHECKING:
    from tasks.cache import Cleanable
    from tasks.clean_logs import Leavings
    from tasks.fold_usage import Foldable


@pipeline(name="clean_cache")
async def clean_cache(store: Cleanable) -> str:
    """Delete expired answers, and the least recently used beyond the size limit; give a line that says so."""
    await open_store(store)
    try:
        gone = await delete_expired(store)
        return await what_is_left(store, gone)
    finally:
        await store.close()


@pipeline(name="clean_logs")
async def clean_logs(folders: Leavings, captures: Leavings) -> str:
    """Delete the log folders of servers that ended long ago, and old captures; give a line that says so."""
    return f"{await delete_old_folders(folders)}. {await delete_old_captures(captures)}"


@pipeline(name="fold_usage")
async def fold_usage(usage: Foldable) -> str:
    """Sum up by day what sessions used long ago; give a line that says so."""
    return await fold_sessions(usage)
