"""Many rows inserted at once: the statement is compiled once, rows go to the driver as tuples.

SQLAlchemy's own way makes and looks at a dictionary for each row, which costs more than the insertion.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Table


def insert_rows(connection: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows that have a value for each of the table's first columns, as the driver takes them."""
    if rows:
        statement = _statement(connection.dialect, table, len(rows[0]))
        connection.exec_driver_sql(statement, rows)


@lru_cache(maxsize=64)
def _statement(dialect: Dialect, table: Table, columns: int) -> str:
    names = [column.name for column in table.columns][:columns]
    return str(insert(table).compile(dialect=dialect, column_keys=names))
