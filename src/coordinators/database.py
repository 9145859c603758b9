"""The database that batches are kept in: SQLite in the data folder, or PostgreSQL that DATABASE_URL names.

What is done in it are plain functions over a SQLAlchemy connection, each in one transaction; `Database` runs
them in the event loop. Their failures are StoreFailed, with no statement, value or address in the message.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import Double, cast, event, extract, func, literal, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from coordinators.database_failures import failures, store_failed
from coordinators.database_versions import HEAD, migrate, version
from coordinators.sqlite_file import prepare
from headgate.settings import SettingsError
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sqlalchemy import ColumnElement, Connection

    from headgate.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

BUSY_SECONDS = 15.0
ROOM_BYTES = 16 << 20
_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 60.0
_POSTGRES = ("postgres", "postgresql")


def database_of(settings: Settings) -> str:
    """Give the database's address: DATABASE_URL, or a file in the data folder. Raises SettingsError."""
    if settings.database_url is None:
        return f"sqlite:///{settings.data_dir.absolute() / 'headgate.db'}"
    url = settings.database_url.get_secret_value().strip()
    scheme = url.partition(":")[0]
    if scheme not in {*_POSTGRES, "sqlite"}:
        raise SettingsError("DATABASE_URL must begin with postgres://, postgresql:// or sqlite:///")
    if scheme == "sqlite" and sqlite_path(url) is None:
        raise SettingsError("DATABASE_URL: sqlite:/// must be followed by a file's path")
    if scheme in _POSTGRES and not _is_postgres_url(url):
        raise SettingsError("DATABASE_URL is not of the form postgresql://user:password@host:port/database")
    return url


def sqlite_path(url: str) -> Path | None:
    """Give the file that a SQLite address names; None if it is PostgreSQL's, or names none."""
    if not url.startswith("sqlite:///"):
        return None
    try:
        name = make_url(url).database
    except ArgumentError:
        return None
    return None if name in {None, "", ":memory:"} or str(name).startswith("file:") else Path(str(name))


def _is_postgres_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.port or parts.hostname or parts.query or parts.path)
    except ValueError:  # several hosts, which the driver knows to read
        return "," in url


def now(connection: Connection) -> ColumnElement[float]:
    """Give the time in seconds since the epoch by the database's clock, one in a statement.

    SQLite has none of its own: all its users are on one machine, and have that machine's.
    """
    if connection.dialect.name == "sqlite":
        return literal(time.time())
    return cast(extract("epoch", func.statement_timestamp()), Double)


class Database:
    """One database for a process's life. Every method raises StoreFailed."""

    def __init__(self, url: str) -> None:
        self.path = sqlite_path(url)
        self._failures = failures(postgres=self.path is None)
        self._url = url
        self._engine: AsyncEngine | None = None
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, and bring the tables up to date; a database of a newer Headgate is refused."""
        try:
            if self.path is not None:
                await asyncio.to_thread(prepare, self.path, BUSY_SECONDS)
            self._engine = self._sqlite() if self.path is not None else self._postgres()
            await self._bring_up_to_date()
        except BaseException as error:
            await self.close()
            if isinstance(error, self._failures):
                raise store_failed(error) from None
            raise

    async def close(self) -> None:
        """Close all connections, once the transactions under way have ended."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await finishing(self._dispose(engine))

    async def _dispose(self, engine: AsyncEngine) -> None:
        # A connection that is in use when its engine goes is given back to nobody, and never closed.
        while self._under_way:
            await asyncio.wait(self._under_way)
        await engine.dispose()

    async def check_room(self) -> None:
        """Raise StoreFailed if SQLite's disk is nearly full: what deletes needs room to write, too.

        Pages of the file that are free count: they are used before it grows.
        """
        if self.path is None:
            return
        free = disk_usage(self.path.parent).free
        if free < ROOM_BYTES and free + await self.read(_free_bytes) < ROOM_BYTES:
            raise StoreFailed("the disk is full but for what is kept free")

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
        """Run `work` in a transaction that only reads."""
        return await finishing(self._transaction(work, args, more, writing=False))

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **more: P.kwargs
    ) -> T:
        """Run `work` in a transaction, which is whole or not at all.

        A caller that is cancelled waits for its end. An IntegrityError comes through: the caller knows what
        it means.
        """
        if self.path is None:
            return await finishing(self._transaction(work, args, more, writing=True))
        return await finishing(self._in_turn(work, args, more))

    async def _in_turn(self, work: Callable[..., T], args: Any, more: Any) -> T:
        """Write one after the other: within a process SQLite's own waiting is unfair and slow."""
        async with self._turn:
            return await self._transaction(work, args, more, writing=True)

    async def _transaction(self, work: Callable[..., T], args: Any, more: Any, *, writing: bool) -> T:
        if self._engine is None:
            raise StoreFailed("the store is closed")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - `finishing` made it
        self._under_way.add(task)
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(headgate_writes=writing)
                async with connection.begin():
                    return await connection.run_sync(work, *args, **more)
        except IntegrityError:
            raise
        except self._failures as error:
            failed = store_failed(error)
        finally:
            self._under_way.discard(task)
        raise failed  # outside, without what led to it: that holds values, and statements that are open

    async def _bring_up_to_date(self) -> None:
        """Migrate unless it is at our version, which is looked at first: it is far quicker."""
        if await self.read(version) != HEAD:
            await self.write(migrate)

    def _sqlite(self) -> AsyncEngine:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{self.path}",
            connect_args={"timeout": BUSY_SECONDS},
            hide_parameters=True,
            pool_reset_on_return=None,  # every transaction is ended by us
            pool_size=4,
            max_overflow=4,
        )
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    def _postgres(self) -> AsyncEngine:
        import asyncpg  # noqa: PLC0415 - most have no PostgreSQL

        async def connect(*_: Any, **__: Any) -> Any:
            # The driver reads the address itself: it knows all that libpq's may say.
            return await asyncpg.connect(
                self._url, timeout=_CONNECT_SECONDS, command_timeout=_STATEMENT_SECONDS
            )

        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=8,
            max_overflow=8,
        )


def _set_up_sqlite(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.isolation_level = None  # transactions begin where we say
    cursor = dbapi_connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-8000", "journal_size_limit=67108864"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _free_bytes(connection: Connection) -> int:
    pages, size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("freelist_count", "page_size")
    )
    return int(pages) * int(size)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("headgate_writes")
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    dbapi_connection: Any = connection.connection.dbapi_connection
    dbapi_connection.run_async(lambda driver: driver.execute_fetchall(begin))  # one visit to its thread


async def finishing(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` to its end even if the caller is cancelled, who waits for it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: nobody else will ask
        raise
