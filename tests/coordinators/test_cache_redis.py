"""The store in Redis, against a real server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from coordinators.cache_redis import RedisStore
from coordinators.cache_store import StoreFailed
from coordinators.prefect_server import free_port
from tests.fakes.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.redis

LIMIT = 10_000


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest_asyncio.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url, LIMIT)
    await store.open()
    await store._redis.flushall()
    yield store
    await store.close()


def key(number: int) -> bytes:
    return bytes([number]) * 32


async def test_what_is_stored_is_there_until_it_expires(store: RedisStore) -> None:
    assert await store.put(key(1), b"one", b'{"n":1}', 60) == 0
    assert await store.put(key(2), b"two", b"{}", 0.001) == 0
    assert await store.get(key(1)) == b"one"
    assert await store.get(key(9)) is None
    while await store.get(key(2)) is not None:
        time.sleep(0.002)
    (row,) = [row async for rows in store.rows() for row in rows]
    assert (row.key, row.facts, row.size) == (key(1), b'{"n":1}', 10)
    assert 0 < row.expires - time.time() <= 60
    assert (await store.totals()).entries == 2
    assert await store.clean() == 1
    assert await store.clean() == 0
    totals = await store.totals()
    assert (totals.entries, totals.size, totals.limit) == (1, 10, LIMIT)
    assert await store.delete([key(1), key(2)]) == 1
    assert (await store.totals()).size == 0


async def test_what_was_not_used_for_longest_makes_room(store: RedisStore) -> None:
    for number in range(4):
        await store.put(key(number), b"x" * 2400, b"", 60)
    await store.note({key(0): time.time() + 60, key(77): time.time()}, {})
    assert await store.put(key(4), b"x" * 4800, b"", 60) == 2
    assert [await store.get(key(n)) is not None for n in range(5)] == [True, False, False, True, True]
    assert await store.put(key(4), b"x", b"", 60) == 0
    assert (await store.totals()).size == 4801
    with pytest.raises(StoreFailed, match="larger"):
        await store.put(key(5), b"x" * LIMIT, b"y", 60)


async def test_counts_are_shared(store: RedisStore, redis_url: str) -> None:
    other = RedisStore(redis_url, LIMIT)
    await store.note({}, {"hits": 2})
    await other.note({}, {"hits": 1, "cost": 0.5})
    assert await store.counts() == {"hits": 3.0, "cost": 0.5}
    await other.close()


async def test_many_rows_come_in_pages(store: RedisStore) -> None:
    for number in range(120):
        await store.put(bytes([number, 1]) * 16, b"", b"{}", 60)
    assert len({row.key async for rows in store.rows() for row in rows}) == 120


async def test_a_server_that_is_not_there_fails_the_store_only() -> None:
    port = free_port("127.0.0.1", 17999)
    store = RedisStore(f"redis://user:secret@127.0.0.1:{port}/3", LIMIT)
    with pytest.raises(StoreFailed):
        await store.open()
    with pytest.raises(StoreFailed):
        await store.get(key(1))
    assert store.describe() == {"kind": "redis", "host": "127.0.0.1", "port": port, "path": "/3"}
    await store.close()
