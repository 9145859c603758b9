"""What Alembic runs first: the migrations use the connection and transaction that they are given."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
