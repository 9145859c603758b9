"""The versions of our tables: which one a database has, and the way to the one of this code.

Alembic makes the way; it is imported only if there is one to go.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from sqlalchemy import Connection

FOLDER = Path(__file__).with_name("migrations")
HEAD = "0004"  # the newest in FOLDER / "versions"; a test compares
_LOCK = 0x68656164  # PostgreSQL's advisory locks have numbers


def version(connection: Connection) -> str | None:
    """Give the version of the tables; None if there are none yet. Raises StoreFailed if it is not known."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and (not found.isdigit() or int(found) > int(HEAD)):
        raise StoreFailed(
            f"the tables are of version {found}, this Headgate knows {HEAD}: they need a newer Headgate"
        )
    return None if found is None else str(found)


def migrate(connection: Connection) -> None:
    """Bring the tables to this code's version, within the connection's transaction, alone.

    In SQLite the transaction, which writes from its beginning, keeps other processes out.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    if version(connection) == HEAD:
        return  # somebody else was quicker
    from alembic.command import upgrade  # noqa: PLC0415 - slow, and needed once in a database's life
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    upgrade(config, HEAD)
