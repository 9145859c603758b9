"""Facts about the store itself; the first is its own name, by which it is told from every other."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table, and the name."""
    facts = op.create_table(
        "facts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.execute(sa.insert(facts).values(name="store", value=secrets.token_hex(6)))
