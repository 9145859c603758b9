"""Usage by day, the windows that limits are measured in, who writes them, and the client keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ZERO: Any = {"nullable": False, "server_default": "0"}
_COUNTS = ("requests", "errors", "cached", "refused", "unpriced")
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "usage_days",
        *(
            sa.Column(name, sa.Text, primary_key=True)
            for name in ("day", "tenant", "model", "backend", "session")
        ),
        *(sa.Column(name, sa.BigInteger, **_ZERO) for name in (*_COUNTS, *_TOKENS)),
        *(sa.Column(name, sa.Double, **_ZERO) for name in ("cost", "estimated")),
    )
    op.create_table(
        "usage_windows",
        sa.Column("period", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("requests", sa.BigInteger, **_ZERO),
        sa.Column("tokens", sa.BigInteger, **_ZERO),
        sa.Column("cost", sa.Double, **_ZERO),
    )
    op.create_table(
        "usage_writers",
        sa.Column("writer", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("wrote_at", sa.Double, nullable=False),
    )
    _keys()


def _keys() -> None:
    op.create_table(
        "client_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
        *(sa.Column(name, sa.BigInteger) for name in ("rpm", "tpm")),
        *(sa.Column(name, sa.Double) for name in ("daily_usd", "monthly_usd")),
        sa.Column("models", sa.Text, nullable=False, server_default="[]"),
    )
    valid = sa.text("revoked_at IS NULL")
    op.create_index(
        "client_keys_by_name",
        "client_keys",
        ["name"],
        unique=True,
        sqlite_where=valid,
        postgresql_where=valid,
    )
