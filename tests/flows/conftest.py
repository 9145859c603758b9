"""Prefect's own engine, pointed at a real Prefect server."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest_asyncio
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

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
