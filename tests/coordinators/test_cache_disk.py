"""The store on disk: what it keeps, and what it does when its files are planted, cut, full or fought over."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coordinators import cache_folder
from coordinators.bytes_disk import BytesDisk, Planted
from coordinators.cache_disk import DiskStore
from coordinators.cache_store import Row, Store, StoreFailed
from tests.coordinators.cache_writer import key_of, value_of
from wire.timeline import Junk, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT = 10_000_000
WRITER = Path(__file__).with_name("cache_writer.py")


@asynccontextmanager
async def opened(folder: Path, limit: int = LIMIT) -> AsyncIterator[DiskStore]:
    store = DiskStore(folder, limit)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


async def all_rows(store: Store) -> list[Row]:
    return [row async for rows in store.rows() for row in rows]


def execute(folder: Path, *statement: Any) -> None:
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as connection:
        connection.execute(*statement)


def plant(folder: Path, key: bytes, **columns: Any) -> None:
    """Write a row as somebody would who can write the file."""
    row = {
        "key": key,
        "raw": 1,
        "store_time": 0,
        "expire_time": time.time() + 99,
        "access_time": 0,
        **columns,
    }
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    execute(folder, f"INSERT INTO Cache ({names}) VALUES ({marks})", tuple(row.values()))


async def test_what_is_stored_is_there_until_it_expires(folder: Path) -> None:
    async with opened(folder) as store:
        for number, size in enumerate((10, 5_000, 100_000)):
            assert await store.put(key_of(number), value_of(number, size), b'{"n":1}', 60) == 0
        await store.put(b"short", b"lived", b"{}", 60)
        execute(folder, "UPDATE Cache SET expire_time = 5 WHERE key = ?", (b"short",))
        assert await store.get(b"short") is None
        assert await store.get(b"never") is None
    async with opened(folder) as store:
        for number, size in enumerate((10, 5_000, 100_000)):
            assert await store.get(key_of(number)) == value_of(number, size)
        rows = await all_rows(store)
        assert [row.key for row in rows] == [key_of(0), key_of(1), key_of(2)]
        assert [row.size for row in rows] == [len(value_of(n, s)) for n, s in enumerate((10, 5_000, 100_000))]
        assert rows[0].facts == b'{"n":1}'
        assert await store.clean() == 1
        assert (await store.totals()).entries == 3
        assert await store.delete([key_of(0), key_of(2), b"never"]) == 2
        assert len(list(folder.glob("??/??/*.val"))) == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_what_was_not_used_for_longest_makes_room(folder: Path) -> None:
    async with opened(folder, 1_000_000) as store:
        for number in range(20):
            await store.put(key_of(number), value_of(number, 40_000), b"{}", 600)
        await store.note({key_of(n): time.time() + 60 for n in (0, 1)}, {})
        evicted = 0
        for number in range(20, 40):
            evicted += await store.put(key_of(number), value_of(number, 40_000), b"{}", 600)
        kept = {row.key for row in await all_rows(store)}
        assert evicted == 40 - len(kept) > 0
        assert {key_of(0), key_of(1), key_of(39)} <= kept
        assert key_of(2) not in kept
        assert (await store.totals()).size < 1_000_000 + 80_000
        with pytest.raises(StoreFailed, match="larger"):
            await store.put(b"huge", b"x" * 1_000_001, b"{}", 1)


async def test_counts_are_shared(folder: Path) -> None:
    async with opened(folder) as one, opened(folder) as other:
        await one.note({}, {"hits": 2, "cost": 0.5})
        await other.note({b"nobody": 1.0}, {"hits": 1})
        assert await one.counts() == {"hits": 3.0, "cost": 0.5}
        assert await all_rows(one) == []
        assert (await one.totals()).entries == 0
        execute(folder, "UPDATE Cache SET value = ? WHERE key = ?", (b"[", b"counts"))
        assert await one.counts() == {}


async def test_many_rows_come_in_pages(folder: Path) -> None:
    async with opened(folder) as store:

        def fill(cache: Any) -> None:
            with cache.transact():
                for number in range(1201):
                    cache.set(key_of(number), b"v", expire=60, tag="{}")

        await store._with_cache(fill)
        assert [len(rows) async for rows in store.rows()] == [500, 500, 201]


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


async def test_planted_rows_are_junk(folder: Path, tmp_path: Path) -> None:
    secret, burnt = tmp_path / "secret.val", tmp_path / "burnt"
    secret.write_bytes(value_of(1, 100))
    async with opened(folder) as store:
        plants: list[dict[str, Any]] = [
            {"mode": 4, "value": pickle.dumps(Bomb(burnt))},
            {"mode": 4, "filename": "../secret.val"},
            {"mode": 2, "filename": "../secret.val"},
            {"mode": 2, "filename": str(secret)},
            {"mode": 2, "filename": f"aa/bb/{'c' * 28}.val\n"},
            {"mode": 2, "filename": b"bytes"},
            {"mode": 3, "filename": "../secret.val"},
            {"mode": 1, "value": "text"},
            {"mode": 1, "value": 7},
            {"mode": 1, "value": b"v", "filename": "../secret.val"},
            {"mode": None, "value": b"v"},
        ]
        for number, columns in enumerate(plants):
            plant(folder, key_of(number), **columns)
            with pytest.raises(Junk):
                await store.get(key_of(number))
            assert await store.delete([key_of(number)]) == 1
        plant(folder, pickle.dumps(Bomb(burnt)), raw=0, mode=1, value=b"v", tag="{}")
        plant(folder, "a key of text", mode=1, value=b"v", tag=b"\xff")  # type: ignore[arg-type]
        assert await all_rows(store) == []
        await store.clean()
    assert secret.exists()
    assert not burnt.exists()


async def test_a_link_in_place_of_a_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    async with opened(folder) as store:
        await store.put(key_of(1), value_of(1, 100_000), b"{}", 60)
        (file,) = folder.glob("??/??/*.val")
        secret = tmp_path / "secret"
        file.rename(secret)
        assert await store.get(key_of(1)) is None  # as if another process had evicted it
        file.symlink_to(secret)
        with pytest.raises(StoreFailed):
            await store.get(key_of(1))


def test_the_disk_takes_bytes_only(tmp_path: Path) -> None:
    disk = BytesDisk(str(tmp_path), min_file_size=10)
    with pytest.raises(TypeError):
        disk.put("text")
    with pytest.raises(TypeError):
        disk.store("text", read=False)
    assert disk.get(b"k", 1) == b"k"
    with pytest.raises(Planted):
        disk.get(b"k", 0)


def count_aside(folder: Path) -> int:
    return len(list(folder.parent.glob("cache.broken-*")))


SPOILT = {
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END",
    "a view": "CREATE VIEW v AS SELECT 1",
    "a setting": "INSERT INTO Settings VALUES ('sqlite_temp_store_directory', '/tmp')",
    "a changed setting": "UPDATE Settings SET value = 'off; ATTACH' WHERE key = 'sqlite_journal_mode'",
    "a disk setting": "INSERT INTO Settings VALUES ('disk_evil', 1)",
    "no settings": "DROP TABLE Settings",
}


@pytest.mark.parametrize("how", SPOILT)
async def test_a_database_that_is_more_than_ours_is_set_aside(folder: Path, how: str) -> None:
    async with opened(folder) as store:
        await store.put(key_of(1), value_of(1, 10), b"{}", 60)
    execute(folder, SPOILT[how])
    async with opened(folder) as store:
        assert await store.get(key_of(1)) is None
        await store.put(key_of(1), value_of(1, 10), b"{}", 60)
        assert await store.get(key_of(1)) == value_of(1, 10)
    assert count_aside(folder) == 1


async def test_of_what_was_set_aside_the_latest_stays(folder: Path) -> None:
    for _ in range(4):
        async with opened(folder):
            pass
        execute(folder, SPOILT["a view"])
    async with opened(folder):
        assert count_aside(folder) == 2


@pytest.mark.parametrize("left", [0, 50, 5_000, 0.5, 0.9])
@pytest.mark.parametrize("open_meanwhile", [False, True])
async def test_a_cut_database_serves_nothing_wrong(folder: Path, left: float, open_meanwhile: bool) -> None:
    async with opened(folder) as store:
        for number in range(50):
            await store.put(key_of(number), value_of(number, 8_000), b"{}", 600)
        if open_meanwhile:
            await cut_and_read(folder, store, left)
            await store.open()
            await read_all(store)
    if not open_meanwhile:
        async with opened(folder) as store:
            await cut_and_read(folder, store, left)
    async with opened(folder) as store:
        await read_all(store)
        for _ in range(3):  # it may take a look at what is broken before it is set aside
            try:
                await store.put(key_of(99), value_of(99, 50), b"{}", 60)
                break
            except StoreFailed:
                await store.open()
        assert await store.get(key_of(99)) == value_of(99, 50)


async def cut_and_read(folder: Path, store: DiskStore, left: float) -> None:
    await store._with_cache(lambda cache: cache._sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    database = folder / "cache.db"
    size = database.stat().st_size
    os.truncate(database, int(size * left if isinstance(left, float) else left))
    await read_all(store)


async def read_all(store: DiskStore) -> None:
    for number in range(50):
        try:
            found = await store.get(key_of(number))
            if found is not None:
                decode(key_of(number), found)  # SQLite reads what was cut as zeros, and finds that in order
                assert found == value_of(number, 8_000)
        except (StoreFailed, Junk):
            pass


async def test_a_file_that_is_no_database_is_set_aside(folder: Path) -> None:
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"nothing like it" * 1000)
    async with opened(folder) as store:
        await store.put(key_of(1), value_of(1, 10), b"{}", 60)
    assert count_aside(folder) == 1


async def test_another_folder_in_its_place_is_noticed(folder: Path) -> None:
    async with opened(folder) as store:
        await store.put(key_of(1), value_of(1, 10), b"{}", 60)
        folder.rename(folder.with_name("gone"))
        with pytest.raises(StoreFailed, match="another") as caught:
            await store.note({}, {"hits": 1})
        assert caught.value.reopen
        await store.open()
        assert await store.get(key_of(1)) is None
        await store.put(key_of(1), value_of(1, 10), b"{}", 60)
        assert await store.get(key_of(1)) == value_of(1, 10)


async def test_a_full_disk_fails_writes_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(folder) as store:
        await store.put(key_of(1), value_of(1, 10), b"{}", 60)
        await store._with_cache(lambda cache: cache._sql("PRAGMA max_page_count = 1").fetchall())
        with pytest.raises(StoreFailed, match="full") as caught:
            await store.put(key_of(2), value_of(2, 40_000), b"{}", 60)
        assert not caught.value.reopen
        assert await store.get(key_of(1)) == value_of(1, 10)

        def no_room(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("diskcache.core.io.BytesIO", no_room)
        with pytest.raises(StoreFailed, match="No space left"):
            await store.put(key_of(3), value_of(3, 100_000), b"{}", 60)
        assert await store.get(key_of(3)) is None


async def test_half_a_file_is_not_left_behind(folder: Path) -> None:
    def breaks_off() -> Any:
        yield b"half"
        raise OSError(28, "No space left on device")

    async with opened(folder) as store:
        disk = store._disk
        assert disk is not None
        with pytest.raises(OSError, match="No space"):
            disk._write(str(folder / "aa" / "bb" / "file.val"), breaks_off(), "xb")
        assert not (folder / "aa" / "bb" / "file.val").exists()


async def test_a_store_that_cannot_be_written_is_read(folder: Path) -> None:
    async with opened(folder) as store:
        await store.put(key_of(1), value_of(1, 10), b"{}", 60)
        await store._with_cache(lambda cache: cache._sql("PRAGMA query_only = 1").fetchall())
        with pytest.raises(StoreFailed, match="readonly"):
            await store.put(key_of(2), value_of(2, 10), b"{}", 60)
        assert await store.get(key_of(1)) == value_of(1, 10)


async def test_a_folder_that_cannot_be_made_fails_opening() -> None:
    store = DiskStore(Path("/proc/headgate/cache"), LIMIT)
    with pytest.raises(StoreFailed):
        await store.open()
    with pytest.raises(StoreFailed, match="not open"):
        await store.get(b"k")
    await store.close()


async def test_a_folder_that_is_a_link_or_open_to_others(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o755)
    async with opened(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    link = tmp_path / "link"
    link.symlink_to(folder)
    store = DiskStore(link, LIMIT)
    with pytest.raises(StoreFailed):
        await store.open()
    await store.close()


async def test_files_without_rows_are_removed_in_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(folder) as store:
        await store.put(key_of(1), value_of(1, 100_000), b"{}", 60)
        orphan = folder / "aa" / "bb" / f"{'c' * 28}.val"
        orphan.parent.mkdir(parents=True)
        orphan.touch()
        (orphan.parent / "notes.val").touch()
        await store.clean()
        assert orphan.exists()  # it may be on its way into the database
        monkeypatch.setattr(cache_folder, "_ORPHAN_SECONDS", -60.0)
        await store.clean()
        assert not orphan.exists()
        assert (orphan.parent / "notes.val").exists()
        assert await store.get(key_of(1)) == value_of(1, 100_000)


def writer(folder: Path, limit: int, seed: int, count: int, size: int) -> subprocess.Popen[str]:
    argv = [sys.executable, str(WRITER), str(folder), str(limit), str(seed), str(count), str(size)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


async def assert_all_right(folder: Path, limit: int, size: int) -> int:
    async with opened(folder, limit) as store:
        found = 0
        for number in range(200):
            value = await store.get(key_of(number))
            if value is not None:
                assert decode(key_of(number), value).facts == {"n": number}
                assert value == value_of(number, size)
                found += 1
        return found


async def test_processes_write_and_evict_at_once(folder: Path) -> None:
    limit = 1_500_000
    writers = [writer(folder, limit, seed, 150, 40_000) for seed in range(3)]
    for process in writers:
        out, _ = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, out
        assert "failed" not in out
        assert "junk" not in out
    assert await assert_all_right(folder, limit, 40_000) > 5
    async with opened(folder, limit) as store:
        assert await store.counts() == {"written": 450.0}
        assert (await store.totals()).size < limit + 500_000


async def test_a_process_killed_in_mid_write_leaves_nothing_wrong(folder: Path) -> None:
    for seed, after in enumerate((3, 10, 25)):
        process = writer(folder, LIMIT, seed, 10_000, 90_000)
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert await assert_all_right(folder, LIMIT, 90_000) > 0
    assert count_aside(folder) == 0
