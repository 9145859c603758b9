"""Assembly of the answer cache: its settings, and the store that they name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from coordinators.answer_cache import AnswerCache
from coordinators.cache_settings import CacheSettings
from tasks.apply_profile import DEFAULT_PROFILES

if TYPE_CHECKING:
    from coordinators.cache_store import Store
    from coordinators.prices import Prices
    from headgate.settings import Settings
    from wire.parameters import Presets


def cache_settings(settings: Settings, presets: Presets) -> CacheSettings:
    """Pick what the cache is told; of what the settings put into requests only a digest, for the keys."""
    house = (presets, sorted(settings.profiles.items()), settings.thinking, sorted(DEFAULT_PROFILES.items()))
    return CacheSettings(
        on=settings.cache == "on",
        ttl=settings.cache_ttl,
        ttls=settings.cache_ttls,
        stale=settings.cache_stale,
        size=settings.cache_size,
        largest=min(settings.cache_largest, settings.cache_size),
        keep=frozenset(settings.cache_keep),
        shared=settings.cache_shared,
        house=hashlib.sha256(repr(house).encode()).hexdigest(),
    )


def assemble_store(settings: Settings) -> Store:
    """Give the store, not opened yet: Redis where an address is set, else a folder of the data folder."""
    # Imported here, because a gateway that never caches needs neither.
    if settings.cache_url is not None:
        from coordinators.cache_redis import RedisStore  # noqa: PLC0415 - see above

        return RedisStore(settings.cache_url.get_secret_value(), settings.cache_size)
    from coordinators.cache_disk import DiskStore  # noqa: PLC0415 - see above

    return DiskStore(settings.data_dir / "cache", settings.cache_size)


def assemble_cache(settings: Settings, presets: Presets, prices: Prices) -> AnswerCache:
    """Give the cache of a web process; `presets` are what the environment puts into requests."""
    return AnswerCache(cache_settings(settings, presets), assemble_store(settings), prices)
