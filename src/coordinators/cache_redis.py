"""Answers in Redis, shared by several machines: the interface of the store on disk.

An answer is a hash that Redis itself expires. Beside it stand who was used last (a sorted set), the sizes and
their sum: what Redis expired leaves them at the next cleaning. Scripts keep them together.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis.asyncio
from redis.exceptions import RedisError

from coordinators.cache_store import Row, StoreFailed, Totals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

_SECONDS = 0.5
_PAGE = 500
_ANSWER, _USED, _SIZES, _SIZE, _COUNTS = (
    f"headgate:cache:{name}" for name in ("answer:", "used", "sizes", "size", "counts")
)

_PUT = """
local name, size = ARGV[1], tonumber(ARGV[6])
local before = tonumber(redis.call('HGET', KEYS[2], name) or 0)
redis.call('HSET', ARGV[8] .. name, 'value', ARGV[2], 'facts', ARGV[3])
redis.call('PEXPIRE', ARGV[8] .. name, ARGV[4])
redis.call('ZADD', KEYS[1], ARGV[5], name)
redis.call('HSET', KEYS[2], name, size)
local total, evicted = redis.call('INCRBY', KEYS[3], size - before), 0
while total > tonumber(ARGV[7]) do
  local oldest = redis.call('ZPOPMIN', KEYS[1])[1]
  if not oldest then break end
  local freed = tonumber(redis.call('HGET', KEYS[2], oldest) or 0)
  redis.call('HDEL', KEYS[2], oldest)
  redis.call('UNLINK', ARGV[8] .. oldest)
  total = redis.call('DECRBY', KEYS[3], freed)
  evicted = evicted + 1
end
return evicted
"""

_DELETE = """
local gone = 0
for i = 2, #ARGV do
  gone = gone + redis.call('UNLINK', ARGV[1] .. ARGV[i])
  redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('DECRBY', KEYS[3], tonumber(redis.call('HGET', KEYS[2], ARGV[i]) or 0))
  redis.call('HDEL', KEYS[2], ARGV[i])
end
return gone
"""


class RedisStore:
    """The store in Redis (`Store`)."""

    kind = "redis"

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._redis: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, retry=None
        )
        self._put = self._redis.register_script(_PUT)
        self._delete = self._redis.register_script(_DELETE)

    async def open(self) -> None:
        """See that Redis answers."""
        with _failures():
            await self._redis.ping()

    async def get(self, key: bytes) -> bytes | None:
        """Give the value stored under `key`."""
        with _failures():
            value: bytes | None = await self._redis.hget(_ANSWER + key.hex(), "value")
            return value

    async def put(self, key: bytes, value: bytes, facts: bytes, seconds: float) -> int:
        """Store a value."""
        size = len(value) + len(facts)
        if size > self._size:
            raise StoreFailed("the answer is larger than the store may be")
        lifetime = max(1, int(seconds * 1000))
        told: list[str | bytes | float] = [
            key.hex(),
            value,
            facts,
            lifetime,
            time.time(),
            size,
            self._size,
            _ANSWER,
        ]
        with _failures():
            return int(await self._put(keys=[_USED, _SIZES, _SIZE], args=told))

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete answers."""
        with _failures():
            names = [key.hex() for key in keys]
            return int(await self._delete(keys=[_USED, _SIZES, _SIZE], args=[_ANSWER, *names]))

    async def rows(self) -> AsyncIterator[list[Row]]:
        """Give every answer, in no order."""
        cursor, more = 0, True
        while more:
            with _failures():
                cursor, found = await self._redis.zscan(_USED, cursor, count=_PAGE)
                pipe = self._redis.pipeline(transaction=False)
                for name, _ in found:
                    pipe.hget(_ANSWER + name.decode(), "facts")
                    pipe.pttl(_ANSWER + name.decode())
                    pipe.hget(_SIZES, name)
                told = await pipe.execute()
            now, more = time.time(), bool(cursor)
            yield [
                Row(bytes.fromhex(name.decode()), facts, int(size or 0), now + left / 1000, used)
                for (name, used), facts, left, size in zip(
                    found, told[::3], told[1::3], told[2::3], strict=True
                )
                if facts is not None
            ]

    async def note(self, used: Mapping[bytes, float], counts: Mapping[str, float]) -> None:
        """Write down uses and counts."""
        with _failures():
            pipe = self._redis.pipeline(transaction=False)
            if used:
                pipe.zadd(_USED, {key.hex(): when for key, when in used.items()}, xx=True, gt=True)
            for name, count in counts.items():
                pipe.hincrbyfloat(_COUNTS, name, count)
            await pipe.execute()

    async def counts(self) -> dict[str, float]:
        """Give the counts of every process."""
        with _failures():
            found = await self._redis.hgetall(_COUNTS)
            return {name.decode(): float(count) for name, count in found.items()}

    async def clean(self) -> int:
        """Forget what Redis has expired."""
        gone, cursor, more = 0, 0, True
        with _failures():
            while more:
                cursor, found = await self._redis.zscan(_USED, cursor, count=_PAGE)
                more = bool(cursor)
                pipe = self._redis.pipeline(transaction=False)
                for name, _ in found:
                    pipe.exists(_ANSWER + name.decode())
                there = await pipe.execute()
                expired = [name for (name, _), alive in zip(found, there, strict=True) if not alive]
                if expired:
                    await self._delete(keys=[_USED, _SIZES, _SIZE], args=[_ANSWER, *expired])
                gone += len(expired)
        return gone

    async def totals(self) -> Totals:
        """Say what the store holds."""
        with _failures():
            entries, size = await self._redis.zcard(_USED), await self._redis.get(_SIZE)
            return Totals(entries, int(size or 0), self._size)

    def describe(self) -> dict[str, Any]:
        """Say where it is, without the password."""
        parts = urlsplit(self._url)
        return {"kind": self.kind, "host": parts.hostname, "port": parts.port, "path": parts.path}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, ValueError) as error:
        raise StoreFailed(f"{type(error).__name__}: {error}"[:200]) from error
