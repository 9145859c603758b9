"""Migrations of the database that batches are kept in; `database_versions` runs them."""
