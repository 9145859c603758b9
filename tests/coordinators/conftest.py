"""The store of batches on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from coordinators.batch_store import SqlBatchStore
from tests.fakes.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'headgate.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.emptied()


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[SqlBatchStore]:
    async with SqlBatchStore(database_url, chunk=4) as store:
        yield store
