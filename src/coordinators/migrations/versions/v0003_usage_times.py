"""How long answers took, summed up beside the usage of a day.

Rows of before have zeros: of their days no time is known. A server of before that still runs goes on writing
them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; neither database rewrites the table for it."""
    op.add_column("usage_days", sa.Column("timed", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("usage_days", sa.Column("took_ms", sa.Double, nullable=False, server_default="0"))
