"""The cache's part in a flow: look up, else ask and store. Not taken by a request that says nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.look_up_cache import look_up_cache, replay_message, replay_stream
from tasks.store_cache import store_message, store_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tasks.backend import Route
    from tasks.cache import CacheUse
    from tasks.exchange import Streaming, Whole
    from wire.messages import Json


async def cached_message(
    body: Json, routes: tuple[Route, ...], cache: CacheUse | None, ask: Callable[[], Awaitable[Whole]]
) -> Whole:
    """Answer with the stored Message, or with what `ask` gives, which is then stored."""
    if cache is None:
        return await ask()
    if (entry := await look_up_cache(body, routes, cache)) is not None:
        return replay_message(entry)

    async def ask_and_store() -> Whole:
        return store_message(await ask(), cache)

    return await cache.whole(ask_and_store)


async def cached_stream(
    body: Json, routes: tuple[Route, ...], cache: CacheUse | None, ask: Callable[[], Awaitable[Streaming]]
) -> Streaming:
    """Answer with the stored stream, or with what `ask` gives, which is stored at its end."""
    if cache is None:
        return await ask()
    if (entry := await look_up_cache(body, routes, cache)) is not None:
        return replay_stream(entry, cache)

    async def ask_and_store() -> Streaming:
        return store_stream(await ask(), cache)

    return await cache.stream(ask_and_store)
