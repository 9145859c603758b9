"""The tables of batches. Migrations make them (`migrations/versions`); a test compares the two.

Rows refer to a batch by `num`; its public `id` is only in `batches`. Times are seconds since the epoch. What
a batch has come to is kept by chunk, in the transaction that records its results, and summed up when asked.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()

DRAFT, IN_PROGRESS, CANCELING, ENDED = "draft", "in_progress", "canceling", "ended"
DELETED = "deleted"  # its rows are still to be deleted
GONE = "gone"  # nothing is left but its place in lists
OPEN = (IN_PROGRESS, CANCELING)
SEEN = (IN_PROGRESS, CANCELING, ENDED)
MARKS = (*SEEN, DELETED, GONE)
OUTCOMES = ("succeeded", "errored", "canceled", "expired")


def _of_batch() -> Column[int]:
    return Column(
        "batch", Integer, ForeignKey("batches.num", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )


def _lease() -> list[Column[str] | Column[float] | Column[int]]:
    return [
        Column("owner", Text),
        Column("lease_until", Double, nullable=False, server_default="0"),
        Column("fence", Integer, nullable=False, server_default="0"),
    ]


batches = Table(
    "batches",
    metadata,
    Column("num", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, server_default="0"),
    Column("ended_at", Double),
    Column("cancel_initiated_at", Double),
    Column("archived_at", Double),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("size", Integer, nullable=False, server_default="0"),
    Column("chunks", Integer, nullable=False, server_default="0"),
    Column("headers", Text, nullable=False, server_default="{}"),
    Column("label", Text),
    Column("flow_run", Text),
    Column("idempotency_key", Text),
    Column("digest", Text),
    *_lease(),
    Index("batches_newest", "created_at", "num"),
    Index("batches_of_tenant", "tenant", "created_at", "num"),
    Index("batches_by_key", "tenant", "idempotency_key", unique=True),
    Index("batches_by_state", "state"),
    sqlite_autoincrement=True,
)

items = Table(
    "batch_items",
    metadata,
    _of_batch(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("custom_id", Text, nullable=False),
    Column("params", LargeBinary, nullable=False),
    Index("batch_items_by_custom_id", "batch", "custom_id", unique=True),
)

results = Table(
    "batch_results",
    metadata,
    _of_batch(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("outcome", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("started", Double, nullable=False, server_default="0"),
    Column("ms", Double, nullable=False, server_default="0"),
    Column("input_tokens", Integer, nullable=False, server_default="0"),
    Column("output_tokens", Integer, nullable=False, server_default="0"),
    Column("cost", Double, nullable=False, server_default="0"),
    Column("error_type", Text),
    Column("error_hash", Text),
    Column("body", LargeBinary, nullable=False),
    Index(
        "batch_results_errored",
        "batch",
        "seq",
        sqlite_where=text("outcome = 'errored'"),
        postgresql_where=text("outcome = 'errored'"),
    ),
)

attempts = Table(
    "batch_attempts",
    metadata,
    _of_batch(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started", Double, nullable=False),
    Column("ms", Double, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("message", Text, nullable=False),
)

chunks = Table(
    "batch_chunks",
    metadata,
    _of_batch(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("done", Boolean, nullable=False, server_default=text("false")),
    *_lease(),
    *(Column(outcome, Integer, nullable=False, server_default="0") for outcome in OUTCOMES),
    Column("input_tokens", Integer, nullable=False, server_default="0"),
    Column("output_tokens", Integer, nullable=False, server_default="0"),
    Column("cost", Double, nullable=False, server_default="0"),
    Index(
        "batch_chunks_owned",
        "owner",
        sqlite_where=text("owner IS NOT NULL"),
        postgresql_where=text("owner IS NOT NULL"),
    ),
)

rates = Table(
    "batch_rates",
    metadata,
    Column("name", Text, primary_key=True),
    Column("free_at", Double, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""About the store itself: `store` is its own name, a random one."""
