"""Keep answers for those who ask the same again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step

if TYPE_CHECKING:
    from tasks.cache import CacheUse
    from tasks.exchange import Streaming, Whole


@step
def store_message(answer: Whole, cache: CacheUse) -> Whole:
    """Store a finished answer in the background, and give it."""
    cache.keep_whole(answer)
    return answer


@step
def store_stream(answer: Streaming, cache: CacheUse) -> Streaming:
    """Give the stream so that it is stored once it has ended well."""
    return cache.keep_stream(answer)
