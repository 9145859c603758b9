"""The database itself: its address, its tables' versions, its file, and what happens when it fails."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, text

from coordinators.batch_store import SqlBatchStore
from coordinators.database import Database, database_of
from coordinators.database_versions import FOLDER, HEAD
from coordinators.sqlite_file import prepare
from coordinators.usage_store import UsageStore
from coordinators.usage_tables import metadata
from headgate.settings import SettingsError, load_settings
from tasks.batch import StoreFailed
from tests.coordinators.batch_samples import EXPIRES, chunk_of, make, new_items, result, rows
from tests.fakes.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SLOW = """WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 300000)
SELECT count(*) FROM many"""


# -- its address
@pytest.mark.parametrize(
    "url",
    ["postgres://u:p@h/d", "postgresql://u:p@h:1/d?sslmode=require", "sqlite:////tmp/x.db", "sqlite:///x"],
)
def test_an_address_is_taken(url) -> None:
    assert database_of(load_settings(database_url=url)) == url


def test_without_an_address_it_is_in_the_data_folder(tmp_path) -> None:
    settings = load_settings(database_url="", data_dir=tmp_path)
    assert database_of(settings) == f"sqlite:///{tmp_path}/headgate.db"


@pytest.mark.parametrize(
    "url",
    ["mysql://u:secret@h/d", "secret", "sqlite:///", "sqlite:///:memory:", "postgresql://u:secret@h:no/d"],
)
def test_a_wrong_address_is_refused_without_being_shown(url) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as refused:
        database_of(load_settings(database_url=url))
    assert "secret" not in str(refused.value)


def test_without_postgresql_its_driver_is_not_loaded(tmp_path) -> None:
    code = (
        "import sys; from coordinators.database import Database\n"
        f"Database('sqlite:///{tmp_path}/x.db'); assert 'asyncpg' not in sys.modules\n"
        "Database('postgresql://x'); assert 'asyncpg' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- its versions
def test_the_newest_version_is_the_code_s() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_the_migrations_make_the_tables_that_the_code_knows(store: SqlBatchStore) -> None:
    def differences(connection: object) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))  # type: ignore[arg-type]

    assert await store.database.read(differences) == []


async def test_a_newer_database_is_refused(store: SqlBatchStore, database_url) -> None:
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    await store.database.write(lambda connection: connection.execute(newer).rowcount)
    with pytest.raises(StoreFailed, match="newer Headgate"):
        await SqlBatchStore(database_url).open()


def contender(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.coordinators.batch_contender", url],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def test_processes_open_at_once_and_own_apart(database_url) -> None:
    processes = [contender(database_url) for _ in range(2)]
    try:
        first = [await said(process) for process in processes]
        assert set(first) <= {"migrated", "opened"}
        assert "migrated" in first
        processes.append(contender(database_url))
        assert await said(processes[2]) == "opened", "Alembic was imported with nothing to migrate"
        async with SqlBatchStore(database_url, chunk=1) as store:
            made = await make(store, 30)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{made.id}\n")
                process.stdin.flush()
            taken = [chunk for process in processes for chunk in json.loads(await said(process))]
            assert sorted(taken) == list(range(30))
            assert all(chunk.leased for chunk in await store.chunks(made.id))
    finally:
        for process in processes:
            process.kill()
            process.communicate()


# -- SQLite's file
async def test_the_file_is_its_user_s_own(tmp_path) -> None:
    path = tmp_path / "new" / "headgate.db"
    async with SqlBatchStore(f"sqlite:///{path}") as store:
        await make(store, 1)
        modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
        assert {"headgate.db", "headgate.db-wal"} <= set(modes)
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

        def pragmas(connection: object) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]  # type: ignore[attr-defined]

        assert await store.database.read(pragmas) == ["wal", 2, 1]


async def test_what_is_no_database_is_not_touched(tmp_path) -> None:
    path = tmp_path / "headgate.db"
    path.write_bytes(b"something else, " * 1000)
    with pytest.raises(StoreFailed, match="damaged"):
        await SqlBatchStore(f"sqlite:///{path}").open()
    assert path.read_bytes() == b"something else, " * 1000


async def test_a_closed_store_says_so(tmp_path) -> None:
    with pytest.raises(StoreFailed, match="closed"):
        await SqlBatchStore(f"sqlite:///{tmp_path / 'x.db'}").open_batches()


async def test_closing_waits_for_what_is_under_way(database_url) -> None:
    database = Database(database_url)
    await database.open()
    started = threading.Event()

    def slowly(connection: object) -> int:
        started.set()
        return connection.exec_driver_sql(SLOW).scalar()  # type: ignore[attr-defined]

    reading = asyncio.create_task(database.read(slowly))
    await asyncio.to_thread(started.wait)
    await database.close()
    assert await reading == 300_000
    del database, reading
    gc.collect()  # a connection left open would warn, which is an error here


async def test_an_opening_that_is_given_up_leaves_nothing_open(tmp_path) -> None:
    store = UsageStore(f"sqlite:///{tmp_path / 'x.db'}")
    for turns in range(12):
        given_up = asyncio.create_task(store.exchange(None, [], None))
        for _ in range(turns):
            await asyncio.sleep(0.002)
        given_up.cancel()
        await asyncio.gather(store.exchange(None, [], None), store.exchange(None, [], None))
        await store.close()
        await asyncio.gather(given_up, return_exceptions=True)
    del store, given_up
    gc.collect()


# -- a full disk
async def create(store: SqlBatchStore, count: int, size: int) -> None:
    async with store.creating(tenant="a", headers={}) as draft:
        for first in range(0, count, 50):
            await draft.add(new_items(50, first, size))
        await draft.commit(digest="d", expires_at=EXPIRES)


async def test_a_full_database_keeps_nothing_half_made(tmp_path) -> None:
    async with SqlBatchStore(f"sqlite:///{tmp_path / 'x.db'}") as store:
        kept = await make(store, 3)

        def bound(dbapi_connection: object, _record: object) -> None:
            dbapi_connection.execute("PRAGMA max_page_count=400")  # type: ignore[attr-defined]

        engine = store.database._engine
        assert engine is not None
        event.listen(engine.sync_engine, "connect", bound)
        await engine.dispose()
        with pytest.raises(StoreFailed, match=r"disk is full \(SQLITE_FULL\)") as failed:
            await create(store, 1000, 10_000)
        assert "xxx" not in str(failed.value)
        assert await store.page(None) == ([kept], False)
        assert (await rows(store))["batch_items"] == 3
        await make(store, 10, size=10_000)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only, and not in every container")
    yield path
    gc.collect()  # the driver's error and its cursor hold each other, and the file open
    subprocess.run(["umount", str(path)], check=True)


async def test_a_full_disk_keeps_nothing_half_made(small_disk: Path) -> None:
    async with SqlBatchStore(f"sqlite:///{small_disk / 'x.db'}") as store:
        kept = await make(store, 3)
        with pytest.raises(StoreFailed, match="full"):
            await create(store, 4000, 10_000)
        assert await store.page(None) == ([kept], False)
        assert await rows(store) == {
            "batches": 1,
            "batch_items": 3,
            "batch_results": 0,
            "batch_attempts": 0,
            "batch_chunks": 1,
        }
        lease = await chunk_of(store, kept)
        filling = small_disk / "filling"
        with suppress(OSError):
            filling.write_bytes(b"x" * (64 << 20))
        with pytest.raises(StoreFailed, match="full"):
            await store.record(lease, [result(0, body=b"x" * (30 << 20))])
        with pytest.raises(StoreFailed, match="full"):
            await make(store, 1)
        filling.unlink()
        assert await store.results(kept.id) == []
        await store.record(lease, [result(0)])
        await make(store, 10, size=10_000)
        assert await store.sweep(keep_days=1) == 0


# -- a server that goes
@pytest.mark.postgres
async def test_postgresql_may_crash_and_come_back() -> None:
    with PostgresServer(fsync=True) as server:
        async with SqlBatchStore(server.url()) as store:
            made = await make(store, 4)
            lease = await chunk_of(store, made)
            await store.record(lease, [result(0)])
            server.kill()
            for _ in range(3):
                with pytest.raises(StoreFailed, match="connection was lost") as failed:
                    await store.record(lease, [result(1)])
                assert "of-the-test" not in str(failed.value)
            with pytest.raises(StoreFailed):
                await make(store, 2)
            server.restart()
            await store.record(lease, [result(1)])
            assert [one.seq for one in await store.results(made.id)] == [0, 1]
            assert (await rows(store))["batches"] == 1


@pytest.mark.postgres
async def test_a_wrong_password_is_not_shown(postgres: PostgresServer) -> None:
    wrong = postgres.url().replace("of-the-test", "secret")
    with pytest.raises(StoreFailed, match="refused") as failed:
        await SqlBatchStore(wrong).open()
    assert "secret" not in str(failed.value)


def test_opening_again_leaves_the_locks_of_this_processs_other_connections(tmp_path):
    # Closing any descriptor of the file would free them: another process, closing its own, would then delete
    # the log (`-wal`) that the first connection goes on using.
    path = tmp_path / "headgate.db"
    prepare(path, 5.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE told (word TEXT)")
        prepare(path, 5.0)
        _run_apart("c.execute('DELETE FROM told')", path)
        assert path.with_name("headgate.db-wal").exists()
        connection.execute("INSERT INTO told VALUES ('kept')")
        assert _run_apart("print(c.execute('SELECT * FROM told').fetchall())", path) == "[('kept',)]"


def _run_apart(does, path):
    code = f"import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); {does}; c.close()"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    return done.stdout.strip()
