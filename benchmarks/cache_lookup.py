"""Look-ups in the store by themselves: many entries against few, and beside diskcache as it comes.

`python -m benchmarks.cache_lookup`. Everything in one process; the stores are asked by turns, so that a slow
moment of the machine hits all alike. Keys are drawn by chance: what was just read does not help.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diskcache
import orjson

from benchmarks.canned import PLAIN_TEXT
from coordinators.answer_cache import AnswerCache, packed
from coordinators.bytes_cache import open_cache
from coordinators.cache_disk import DiskStore
from coordinators.cache_settings import CacheSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FEW, MANY = 100, 100_000
_SIZE = 4 * 1024**3
_ROUNDS = 40
_A_ROUND = 250
_A_TRANSACTION = 2000


def _key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def _value(key: bytes) -> tuple[bytes, bytes]:
    """Give an entry as a small answer makes it, and its facts."""
    usage = {"input_tokens": 20, "output_tokens": 40}
    message = {
        "id": "msg_0123456789",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4",
        "content": [{"type": "text", "text": PLAIN_TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    facts = {
        "tenant": "0123456789abcdef",
        "backend": "openrouter",
        "model": "anthropic/claude-sonnet-4",
        "asked": "claude-sonnet-4",
        "tags": ["bench"],
        "stored": round(time.time(), 3),
        "ttl": 3600.0,
        "left_out": [],
        "form": "message",
        "summary": {**usage, "cost_usd": 0.001, "stop_reason": "end_turn"},
    }
    return packed(key, facts, orjson.dumps(message), ())


def _fill(folder: Path, entries: int) -> None:
    with open_cache(folder, _SIZE) as cache:
        for start in range(0, entries, _A_TRANSACTION):
            with cache.transact():
                for number in range(start, min(start + _A_TRANSACTION, entries)):
                    value, facts = _value(_key(number))
                    cache.set(_key(number), value, expire=3600, tag=facts.decode())


async def _timed(find: Callable[[bytes], Awaitable[Any]], keys: list[bytes], times: list[float]) -> None:
    for key in keys:
        started = time.perf_counter()
        found = await find(key)
        times.append(time.perf_counter() - started)
        assert found is not None


def _told(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "p50_us": round(1e6 * statistics.median(ordered), 2),
        "p99_us": round(1e6 * ordered[int(0.99 * len(ordered))], 2),
    }


async def measure(folder: Path) -> dict[str, Any]:
    """Time the store's own look-up, the cache's with unpacking, and diskcache's."""
    rng = random.Random(4)
    finders: dict[str, tuple[Callable[[bytes], Awaitable[Any]], int]] = {}
    caches = []
    for entries in (FEW, MANY):
        _fill(folder / str(entries), entries)
        settings = CacheSettings(
            on=True, ttl=3600, ttls={}, stale=0, size=_SIZE, largest=_SIZE, keep=frozenset(),
            shared=False, house="",
        )  # fmt: skip
        cache = AnswerCache(settings, DiskStore(folder / str(entries), _SIZE))
        await cache.ready()
        caches.append(cache)
        finders[f"store, {entries:,} entries"] = (cache.store.get, entries)
        finders[f"cache, {entries:,} entries"] = (_unpacking(cache), entries)
    alone = diskcache.Cache(str(folder / "alone"))
    for number in range(FEW):
        alone.set(_key(number), _value(_key(number))[0])

    async def by_diskcache(key: bytes) -> Any:
        return alone.get(key)

    finders[f"diskcache alone, {FEW} entries"] = (by_diskcache, FEW)
    times: dict[str, list[float]] = {name: [] for name in finders}
    for _ in range(_ROUNDS):
        for name, (find, entries) in finders.items():
            await _timed(find, [_key(rng.randrange(entries)) for _ in range(_A_ROUND)], times[name])
    for cache in caches:
        await cache.close()
    alone.close()
    return {name: _told(one) for name, one in times.items()}


def _unpacking(cache: AnswerCache) -> Callable[[bytes], Awaitable[Any]]:
    async def find(key: bytes) -> Any:
        return await cache.read(key, lambda entry: entry.message())

    return find


def lookups() -> dict[str, Any]:
    """Measure in a folder that is then removed."""
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        return asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    print(json.dumps(lookups(), indent=1))
