"""What can go wrong with a database, as StoreFailed: a few words and the database's own code, nothing else.

The drivers' messages hold statements, values and addresses; they go no further.
"""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tasks.batch import StoreFailed

_ANYWHERE = (DBAPIError, PoolTimeout, sqlite3.Error, OSError, TimeoutError)

_WORDS = {
    "the disk is full": ("SQLITE_FULL", "53100", "ENOSPC", "EDQUOT"),
    "it was locked for too long": ("SQLITE_BUSY", "SQLITE_LOCKED", "40001", "40P01", "55P03"),
    "the connection was lost": ("57P", "08", "ECONN", "EPIPE"),
    "access was refused": (
        "28",
        "42501",
        "SQLITE_CANTOPEN",
        "SQLITE_PERM",
        "SQLITE_READONLY",
        "EACCES",
    ),
    "it is damaged": ("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"),
}


def failures(*, postgres: bool) -> tuple[type[Exception], ...]:
    """Give what a database raises when it fails."""
    if not postgres:
        return _ANYWHERE
    from asyncpg import InterfaceError, PostgresError  # noqa: PLC0415 - most have no PostgreSQL

    return (*_ANYWHERE, PostgresError, InterfaceError)


def store_failed(error: BaseException) -> StoreFailed:
    """Say in a few words why the database cannot be used."""
    code = _code(error)
    for words, codes in _WORDS.items():
        if code.startswith(codes):
            return StoreFailed(f"{words} ({code})")
    return StoreFailed(f"the database failed ({code})")


def _code(error: BaseException) -> str:
    """Give SQLite's name of an error, PostgreSQL's SQLSTATE, the system's errno, or the exception's name."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        inner = error.orig.__cause__ if error.orig.__cause__ is not None else error.orig
        return _code(inner)
    for name in ("sqlite_errorname", "sqlstate", "pgcode"):
        code = getattr(error, name, None)
        if code:
            return str(code)
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, "OSError")
    return type(error).__name__
