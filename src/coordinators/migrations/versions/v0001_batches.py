"""Batches, their items, results, failed attempts and chunks, and the rates that they share."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ZERO: Any = {"nullable": False, "server_default": "0"}


def upgrade() -> None:
    """Make the tables."""
    _batches()
    _items()
    _results()
    _chunks()
    op.create_table(
        "batch_rates",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("free_at", sa.Double, nullable=False),
    )


def _of_batch() -> sa.Column[Any]:
    key = sa.ForeignKey("batches.num", ondelete="CASCADE")
    return sa.Column("batch", sa.Integer, key, primary_key=True, autoincrement=False)


def _key(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _lease() -> list[sa.Column[Any]]:
    return [
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.Double, **_ZERO),
        sa.Column("fence", sa.Integer, **_ZERO),
    ]


def _usage() -> list[sa.Column[Any]]:
    return [
        sa.Column("input_tokens", sa.Integer, **_ZERO),
        sa.Column("output_tokens", sa.Integer, **_ZERO),
        sa.Column("cost", sa.Double, **_ZERO),
    ]


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("num", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, **_ZERO),
        sa.Column("ended_at", sa.Double),
        sa.Column("cancel_initiated_at", sa.Double),
        sa.Column("archived_at", sa.Double),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("size", sa.Integer, **_ZERO),
        sa.Column("chunks", sa.Integer, **_ZERO),
        sa.Column("headers", sa.Text, nullable=False, server_default="{}"),
        sa.Column("label", sa.Text),
        sa.Column("flow_run", sa.Text),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("digest", sa.Text),
        *_lease(),
        sqlite_autoincrement=True,
    )
    op.create_index("batches_newest", "batches", ["created_at", "num"])
    op.create_index("batches_of_tenant", "batches", ["tenant", "created_at", "num"])
    op.create_index("batches_by_key", "batches", ["tenant", "idempotency_key"], unique=True)
    op.create_index("batches_by_state", "batches", ["state"])


def _items() -> None:
    op.create_table(
        "batch_items",
        _of_batch(),
        _key("seq"),
        sa.Column("custom_id", sa.Text, nullable=False),
        sa.Column("params", sa.LargeBinary, nullable=False),
    )
    op.create_index("batch_items_by_custom_id", "batch_items", ["batch", "custom_id"], unique=True)


def _results() -> None:
    op.create_table(
        "batch_results",
        _of_batch(),
        _key("seq"),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, **_ZERO),
        sa.Column("started", sa.Double, **_ZERO),
        sa.Column("ms", sa.Double, **_ZERO),
        *_usage(),
        sa.Column("error_type", sa.Text),
        sa.Column("error_hash", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    errored = sa.text("outcome = 'errored'")
    op.create_index(
        "batch_results_errored",
        "batch_results",
        ["batch", "seq"],
        sqlite_where=errored,
        postgresql_where=errored,
    )
    op.create_table(
        "batch_attempts",
        _of_batch(),
        _key("seq"),
        _key("number"),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ms", sa.Double, nullable=False),
        sa.Column("error_type", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )


def _chunks() -> None:
    op.create_table(
        "batch_chunks",
        _of_batch(),
        _key("number"),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False, server_default=sa.text("false")),
        *_lease(),
        *(sa.Column(name, sa.Integer, **_ZERO) for name in ("succeeded", "errored", "canceled", "expired")),
        *_usage(),
    )
    owned = sa.text("owner IS NOT NULL")
    op.create_index(
        "batch_chunks_owned", "batch_chunks", ["owner"], sqlite_where=owned, postgresql_where=owned
    )
