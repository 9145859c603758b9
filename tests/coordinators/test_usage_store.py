"""Usage and keys in the store, on both databases; and how processes share them."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from coordinators import key_records, usage_records, usage_sharing
from coordinators.keys import ANYONE, ClientKeys
from coordinators.limits import Limits
from coordinators.usage import COST, REQUESTS, SIZE, TIMED, TOOK, Parcel, Usage
from coordinators.usage_sharing import UsageSharing
from coordinators.usage_store import LoopThread, UsageStore
from tasks.batch import StoreFailed
from tests.coordinators.test_usage import MODEL, TOKENS, ending, exchange, stored
from wire.errors import AuthenticationFailed, Overloaded, RateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

    from coordinators.stored_keys import StoredKey
    from coordinators.usage import Place, Sums

TODAY = datetime.now(UTC).date()


def place(day: int = 0, tenant: str = "t", session: str = "", model: str = MODEL) -> Place:
    return ((TODAY - timedelta(days=day)).isoformat(), tenant, model, "anthropic", session)


def sums(requests: int = 1, cost: float = 0.5) -> Sums:
    made: Sums = [0] * SIZE
    made[REQUESTS], made[COST] = requests, cost
    return made


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[UsageStore]:
    store = UsageStore(url)
    try:
        yield store
    finally:
        await store.close()


async def test_parcels_of_several_writers_add_up(database_url: str) -> None:
    async with opened(database_url) as one, opened(database_url) as other:
        minute = "2026-01-01T00:00"
        for store, number in ((one, 1), (one, 2), (other, 1)):
            windows = {(minute, "t"): [2, 30, 0.25]}
            view = await store.exchange(Parcel(number, {place(): sums()}, windows), [minute], None)
        assert view.windows == {(minute, "t"): [6, 90, 0.75]}
        (row,) = await one.read(usage_records.report, ["tenant", "model"])
        assert (row["tenant"], row["requests"], row["cost"]) == ("t", 3, 1.5)
        assert isinstance(row["requests"], int)


async def test_a_parcel_given_twice_is_stored_once(database_url: str) -> None:
    async with opened(database_url) as store:
        for number in (1, 1, 2, 1):
            parcel = Parcel(number, {place(): sums()}, {("2026-01", "t"): [1, 0, 0.0]})
            view = await store.exchange(parcel, ["2026-01"], None)
        assert view.windows["2026-01", "t"][0] == 2
        (row,) = await store.read(usage_records.report, ["day"])
        assert row["requests"] == 2


async def test_names_that_a_database_cannot_hold_are_stored_all_the_same(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.exchange(Parcel(1, {place(model="a\0b"): sums()}, {}), [], None)
        (row,) = await store.read(usage_records.report, ["model"])
        assert row["model"] == "a\ufffdb"


async def test_old_sessions_are_summed_up_by_day(database_url: str) -> None:
    async with opened(database_url) as store:
        rows = {place(day, session=session): sums() for day in (1, 40, 41) for session in ("a", "b", "")}
        hour_ago = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")
        periods = [hour_ago, TODAY.isoformat(), TODAY.isoformat()[:7]]
        await store.exchange(Parcel(1, rows, {(one, "t"): [1, 1, 1.0] for one in periods}), [], None)
        before = await store.read(usage_records.report, ["day"])
        assert await store.write(usage_records.fold, 30) == 4
        assert await store.write(usage_records.fold, 30) == 0
        after = await store.read(usage_records.report, ["day"])
        assert sorted(map(str, after)) == sorted(map(str, before))
        sessions = await store.read(usage_records.report, ["day", "session"])
        assert {row["session"] for row in sessions if row["day"] == place(40)[0]} == {""}
        assert {row["session"] for row in sessions if row["day"] == place(1)[0]} == {"a", "b", ""}
        left = await store.read(usage_records.read_windows, periods)
        assert {period for period, _ in left} == set(periods[1:])


async def test_rows_of_before_times_were_summed_up_are_kept(database_url: str) -> None:
    def take_back(connection: Connection) -> None:
        for name in ("timed", "took_ms"):
            connection.execute(text(f"ALTER TABLE usage_days DROP COLUMN {name}"))
        connection.execute(text("DROP TABLE facts"))  # came after them
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))

    async with opened(database_url) as store:
        await store.exchange(Parcel(1, {place(): sums()}, {}), [], None)
        await store.write(take_back)
    timed = sums()
    timed[TIMED], timed[TOOK] = 1, 250.0
    async with opened(database_url) as store:
        (before,) = await store.report(["day"])
        await store.exchange(Parcel(1, {place(): timed}, {}), [], None)
        (after,) = await store.report(["day"])
    assert (before["requests"], before["cost"], before["timed"], before["took_ms"]) == (1, 0.5, 0, 0.0)
    assert (after["requests"], after["cost"], after["timed"], after["took_ms"]) == (2, 1.0, 1, 250.0)


async def test_days_are_chosen(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.exchange(Parcel(1, {place(day): sums() for day in range(5)}, {}), [], None)
        since, until = place(3)[0], place(1)[0]
        rows = await store.read(usage_records.report, ["day"], since, until)
        assert sorted(row["day"] for row in rows) == [place(3)[0], place(2)[0], until]


async def test_keys_are_made_revoked_and_deleted(database_url: str) -> None:
    async with opened(database_url) as store:
        key = stored("hg_1", rpm=5, daily_usd=0.5, models=("a*", "b"), expires_at=time.time() + 60)
        await store.write(key_records.create, key)
        assert await store.read(key_records.read_all) == [key]
        with pytest.raises(key_records.NameTaken):
            await store.write(key_records.create, stored("hg_2"))
        version = await store.read(key_records.version)
        gone = await store.write(key_records.revoke, "alice")
        assert gone is not None
        assert gone.revoked_at is not None
        assert await store.write(key_records.revoke, key.id) is None
        assert await store.read(key_records.version) != version
        await store.write(key_records.create, stored("hg_2"))  # its name is free again
        assert await store.write(key_records.remove, "alice") == 1
        (left,) = await store.read(key_records.read_all)
        assert left.id == stored("hg_2").id


async def test_a_key_s_last_use_is_noted(database_url: str) -> None:
    async with opened(database_url) as store:
        key = stored()
        await store.write(key_records.create, key)
        before = await store.read(key_records.version)
        await store.exchange(Parcel(1, {}, {("2026-01", key.id): [1, 0, 0.0]}), [], None)
        (found,) = await store.read(key_records.read_all)
        assert found.last_used_at is not None
        assert await store.read(key_records.version) == before  # no reason to read the keys again


# -- shared between processes
class Worker:
    """What a web process has of it; `url` may be changed while the store is not open."""

    def __init__(self, url: str, folder: Path, *, always_closed: bool = False) -> None:
        self.limits = Limits()
        self.usage = Usage(self.limits)
        self.keys = ClientKeys([])
        self.store = UsageStore(url)
        self.marker = folder / "client_keys_exist"
        self.there = True

        async def make() -> tuple[LoopThread, UsageStore]:
            return LoopThread("usage"), self.store

        self.sharing = UsageSharing(
            make, lambda: self.there, self.usage, self.limits, self.keys,
            marker=self.marker, always_closed=always_closed,
        )  # fmt: skip

    async def share(self) -> None:
        await self.sharing._share()

    async def close(self) -> None:
        await self.sharing.close()


@asynccontextmanager
async def working(url: str, folder: Path, **more: bool) -> AsyncIterator[Worker]:
    worker = Worker(url, folder, **more)
    try:
        await worker.sharing.start()
        yield worker
    finally:
        await worker.close()


async def make_key(url: str, key: StoredKey) -> None:
    async with opened(url) as store:
        await store.write(key_records.create, key)


async def test_workers_share_a_limit(database_url: str, tmp_path: Path) -> None:
    key = stored(rpm=4)
    await make_key(database_url, key)
    async with working(database_url, tmp_path) as one, working(database_url, tmp_path) as other:
        for _ in range(2):
            one.limits.admit(exchange(), key.id)
            other.limits.admit(exchange(), key.id)
        await one.share()
        await other.share()
        await one.share()
        for worker in (one, other):
            with pytest.raises(RateLimited):
                worker.limits.admit(exchange(), key.id)


async def test_keys_made_and_revoked_reach_a_worker(database_url: str, tmp_path: Path) -> None:
    async with working(database_url, tmp_path) as worker:
        assert worker.keys.check({}) == ANYONE
        assert not worker.marker.exists()
        await make_key(database_url, stored("hg_x"))
        await worker.share()
        assert worker.keys.check({"x-api-key": "hg_x"}) == stored("hg_x").id
        assert worker.marker.exists()
        async with opened(database_url) as store:
            await store.write(key_records.revoke, "alice")
        await worker.share()
        with pytest.raises(AuthenticationFailed, match="revoked"):
            worker.keys.check({"x-api-key": "hg_x"})
        async with opened(database_url) as store:
            await store.write(key_records.remove, "alice")
        await worker.share()
        assert worker.keys.check({}) == ANYONE
        assert not worker.marker.exists()


async def test_without_a_store_and_anything_to_store_none_is_made(tmp_path: Path) -> None:
    path = tmp_path / "data" / "headgate.db"
    worker = Worker(f"sqlite:///{path}", tmp_path)
    worker.there = False
    await worker.sharing.start()
    assert await worker.sharing.report(["tenant"]) == []
    assert not path.exists()
    worker.usage.ended(ending(exchange(), **TOKENS))
    await worker.close()
    async with opened(f"sqlite:///{path}") as store:
        (row,) = await store.read(usage_records.report, ["tenant"])
    assert row["input_tokens"] == TOKENS["input_tokens"]


async def test_a_store_that_is_down_hurts_nobody_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    path.write_bytes(b"no database, " * 1000)
    worker = Worker(f"sqlite:///{path}", tmp_path)
    await worker.sharing.start()
    assert worker.keys.check({}) == ANYONE
    worker.usage.ended(ending(exchange(), **TOKENS))
    for _ in range(2):
        with pytest.raises(StoreFailed):
            await worker.share()
        worker.usage.ended(ending(exchange(), **TOKENS))
    path.unlink()
    await worker.share()
    await worker.share()
    (row,) = await worker.sharing.report(["tenant", "day"])
    assert row["requests"] == 3
    await worker.close()


@pytest.mark.parametrize("how", ["hangs", "breaks"])
async def test_a_store_that_cannot_be_closed_holds_nobody_up(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_sharing, "_LAST_SECONDS", 0.2)
    monkeypatch.setattr(usage_sharing, "_LEAST_SECONDS", 0.2)
    worker = Worker(f"sqlite:///{tmp_path / 'headgate.db'}", tmp_path)
    await worker.sharing.start()
    let_go = threading.Event()

    async def close() -> None:
        if how == "breaks":
            raise KeyError
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    async def exchange(*_: Any) -> None:
        raise KeyError("a mistake of ours")

    really_close = worker.store.close
    monkeypatch.setattr(worker.store, "exchange", exchange)
    monkeypatch.setattr(worker.store, "close", close)
    thread, _ = worker.sharing._way or pytest.fail("the store was not reached")
    await thread.run(really_close())
    async with asyncio.timeout(5):
        await worker.close()
    assert thread._thread.is_alive() == (how == "hangs")
    let_go.set()
    thread._thread.join(5)


@pytest.mark.parametrize("why", ["there were keys", "others can reach it"])
async def test_a_store_that_is_down_at_the_start_lets_nobody_in_where_keys_are_asked_for(
    why: str, tmp_path: Path
) -> None:
    path = tmp_path / "headgate.db"
    path.write_bytes(b"no database, " * 1000)
    worker = Worker(f"sqlite:///{path}", tmp_path, always_closed=why == "others can reach it")
    if why == "there were keys":
        worker.marker.touch()
    await worker.sharing.start()
    with pytest.raises(Overloaded):
        worker.keys.check({"x-api-key": "hg_x"})
    path.unlink()
    await make_key(f"sqlite:///{path}", stored("hg_x"))
    await worker.share()
    assert worker.keys.check({"x-api-key": "hg_x"})
    await worker.close()
