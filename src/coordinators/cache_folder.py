"""The folder of the store on disk: ours alone, and what was in it before, looked at before it is opened.

diskcache runs what its own Settings table says as pragmas, and SQLite runs what triggers say. So a database
is opened only if it has exactly the tables, indexes, triggers and settings that diskcache makes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diskcache
import structlog

from coordinators.bytes_cache import open_cache
from coordinators.bytes_disk import OWN_NAME
from coordinators.file_locks import taking_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.get_logger("headgate.cache")
_COUNTED = ("count", "hits", "misses", "size", "size_limit")
_ORPHAN_SECONDS = 3600.0
_SET_ASIDE = 2


class NotOurs(Exception):
    """The database is no diskcache, or is more than one."""


class CacheFolder:
    """One folder, of mode 0700. What is wrong with it is an OSError."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.database = self.path / diskcache.core.DBNAME
        self._inode: int | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from opening, or setting aside, at the same time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with taking_turns(self.path):
            yield

    def prepare(self, *, broken: bool) -> None:
        """Make the folder, or look at what is in it; what must not be opened is set aside.

        `broken` says that this process found its database broken: if it is still there, it goes.
        """
        if self.path.is_dir() and not self.path.is_symlink():
            if broken and not self.was_replaced():
                self._set_aside("it broke while it was open")
            elif self.database.exists():
                try:
                    inspect(self.database)
                except (sqlite3.DatabaseError, NotOurs) as error:
                    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                        raise
                    self._set_aside(str(error))
        self.path.mkdir(mode=0o700, exist_ok=True)
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{self.path} is no folder of this user's own")
        if stat.S_IMODE(found.st_mode) != 0o700:
            self.path.chmod(0o700)
        if self.database.exists():
            self.opened()

    def opened(self) -> None:
        """Remember which database was opened."""
        self._inode = self.database.stat().st_ino

    def was_replaced(self) -> bool:
        """Say whether another database, or none, is where ours was."""
        try:
            return bool(self.database.stat().st_ino != self._inode)
        except FileNotFoundError:
            return True

    def remove_orphans(self, known: set[str]) -> None:
        """Remove values' files that no row speaks of: a process was ended between file and row."""
        before = time.time() - _ORPHAN_SECONDS
        for path in self.path.glob("??/??/*.val"):
            name = str(path.relative_to(self.path))
            if OWN_NAME.fullmatch(name) and name not in known and path.lstat().st_mtime < before:
                path.unlink(missing_ok=True)

    def _set_aside(self, why: str) -> None:
        """Rename the folder; of those set aside before, the latest stay."""
        pattern = f"{self.path.name}.broken-*"
        aside = self.path.with_name(f"{self.path.name}.broken-{time.time_ns()}")
        self.path.rename(aside)
        _log.error("cache store set aside", folder=str(aside), because=why)
        for old in sorted(self.path.parent.glob(pattern))[:-_SET_ASIDE]:
            shutil.rmtree(old, ignore_errors=True)


def inspect(database: Path) -> None:
    """Raise NotOurs or sqlite3.DatabaseError unless the database is what diskcache makes, or empty."""
    with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=5.0)) as connection:
        schema = _schema(connection)
        if not schema:
            return
        usual, settings = _usual()
        if schema != usual:
            raise NotOurs("its tables, indexes or triggers are not diskcache's")
        for key, value in connection.execute("SELECT key, value FROM Settings"):
            if key in _COUNTED and type(value) is int:
                continue
            if key not in settings or value != settings[key]:
                raise NotOurs("its settings are not this program's")


def _schema(connection: sqlite3.Connection) -> set[tuple[Any, ...]]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def _usual() -> tuple[set[tuple[Any, ...]], dict[str, Any]]:
    """Make a diskcache and look at it: its schema, and its settings."""
    with (
        tempfile.TemporaryDirectory(prefix="headgate-") as folder,
        open_cache(Path(folder), 1),
        closing(sqlite3.connect(Path(folder) / diskcache.core.DBNAME)) as connection,
    ):
        return _schema(connection), dict(connection.execute("SELECT key, value FROM Settings"))
