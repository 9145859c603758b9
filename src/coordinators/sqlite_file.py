"""The file of a SQLite database: this user's own, and in WAL mode, before anything connects to it."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from coordinators.file_locks import taking_turns

if TYPE_CHECKING:
    from pathlib import Path


def prepare(path: Path, seconds: float) -> None:
    """Make the file, of mode 0600, in a folder of mode 0700 if there is none; wait `seconds` for others.

    SQLite gives its `-wal` and `-shm` files the mode of the database. Raises OSError, sqlite3.Error.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with taking_turns(path):
        _make_private(path)
        # The mode is kept in the file. Two processes that set it at once would not wait for each other.
        with closing(sqlite3.connect(path, timeout=seconds, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def _make_private(path: Path) -> None:
    """Make the file, or take others' rights to it away, without opening one that is there.

    Whoever closes a file gives up all of its process's POSIX locks on it, also those that SQLite's other
    connections hold: another process would then take itself for the last one, and delete the log that they
    go on writing to (sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return
    found = path.stat()
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != 0o600:
        path.chmod(0o600)
