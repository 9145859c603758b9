"""Prefect's own engine, pointed at a real Prefect server."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest_asyncio
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from coordinators import batch_schedules
from coordinators.batch_store import SqlBatchStore
from tests.express.conftest import PrefectReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from coordinators.prefect_server import PrefectServer


@pytest_asyncio.fixture
async def native(prefect_server: PrefectServer, tmp_path: Path) -> AsyncIterator[PrefectReader]:
    """Run Prefect's engine against the server, and read back what it recorded."""
    with temporary_settings({PREFECT_API_URL: prefect_server.url, PREFECT_HOME: tmp_path}):
        async with aiohttp.ClientSession() as session:
            yield PrefectReader(session, prefect_server.url)
        await APILogHandler.aflush()
        await cast("Awaitable[Any]", EventsWorker.drain_all())
        gc.collect()


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlBatchStore]:
    async with SqlBatchStore(f"sqlite:///{tmp_path / 'batches.db'}", chunk=2) as made:
        yield made


@pytest_asyncio.fixture
async def scheduling(native: PrefectReader) -> AsyncIterator[PrefectReader]:
    """Prefect's engine; what a test schedules goes with it, as the server is every test's."""
    yield native
    async with get_client() as client:
        for one in await batch_schedules.deployments(client):
            await client.delete_deployment(one.id)
