"""Assembly of the answer cache: its settings, and the store that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinators.answer_cache import AnswerCache
from coordinators.cache_settings import CacheSettings

if TYPE_CHECKING:
    from coordinators.cache_store import Store
    from headgate.settings import Settings


def cache_settings(settings: Settings) -> CacheSettings:
    """Pick what the cache is told."""
    return CacheSettings(
        on=settings.cache == "on",
        ttl=settings.cache_ttl,
        ttls=settings.cache_ttls,
        stale=settings.cache_stale,
        size=settings.cache_size,
        largest=min(settings.cache_largest, settings.cache_size),
        keep=frozenset(settings.cache_keep),
        shared=settings.cache_shared,
    )


def assemble_store(settings: Settings) -> Store:
    """Give the store, not opened yet: Redis where an address is set, else a folder of the data folder."""
    # Imported here, because a gateway that never caches needs neither.
    if settings.cache_url is not None:
        from coordinators.cache_redis import RedisStore  # noqa: PLC0415 - see above

        return RedisStore(settings.cache_url.get_secret_value(), settings.cache_size)
    from coordinators.cache_disk import DiskStore  # noqa: PLC0415 - see above

    return DiskStore(settings.data_dir / "cache", settings.cache_size)


def assemble_cache(settings: Settings) -> AnswerCache:
    """Give the cache of a web process."""
    return AnswerCache(cache_settings(settings), assemble_store(settings))
