"""The tables of usage and of client keys. Migrations make them, beside those of batches (`batch_tables`).

A row of `usage_days` is a day (UTC), tenant, model, backend and session; without a session where the client
named none, and once it is old. `usage_windows` has what limits are measured by: sums of a tenant for a
minute, a day and a month, named as the beginning of an ISO 8601 time (`2026-01-31T12:05`, `2026-01-31`,
`2026-01`). `usage_writers` has the number of the last parcel that each process wrote.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Table, Text, text

from coordinators.batch_tables import metadata
from coordinators.usage import AMOUNTS, COUNTS, PLACE

days = Table(
    "usage_days",
    metadata,
    *(Column(name, Text, primary_key=True) for name in PLACE),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in COUNTS),
    *(Column(name, Double, nullable=False, server_default="0") for name in AMOUNTS),
)

windows = Table(
    "usage_windows",
    metadata,
    Column("period", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False, server_default="0"),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("cost", Double, nullable=False, server_default="0"),
)

writers = Table(
    "usage_writers",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("wrote_at", Double, nullable=False),
)

keys = Table(
    "client_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Column("rpm", BigInteger),
    Column("tpm", BigInteger),
    Column("daily_usd", Double),
    Column("monthly_usd", Double),
    Column("models", Text, nullable=False, server_default="[]"),
    Index(
        "client_keys_by_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_at IS NULL"),
        postgresql_where=text("revoked_at IS NULL"),
    ),
)
