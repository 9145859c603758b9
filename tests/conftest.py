"""Fixtures that more than one folder of tests asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from coordinators.prefect_server import PrefectServer
from tests.fakes.handle import FakeBackends, FakeOpenRouter, FakeProviders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def openrouter_process() -> Iterator[FakeOpenRouter]:
    with FakeOpenRouter() as fake:
        yield fake


@pytest.fixture
def openrouter(openrouter_process: FakeOpenRouter) -> FakeOpenRouter:
    """The fake OpenRouter, with an empty script and nothing seen yet."""
    openrouter_process.reset()
    return openrouter_process


@pytest.fixture(scope="session")
def backends_process() -> Iterator[FakeBackends]:
    with FakeBackends() as fake:
        yield fake


@pytest.fixture
def backends(backends_process: FakeBackends) -> FakeBackends:
    """The fake Databricks, Anthropic and OpenAI-compatible server, with an empty script."""
    backends_process.reset()
    return backends_process


@pytest.fixture(scope="session")
def providers_process() -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        yield fake


@pytest.fixture
def providers(providers_process: FakeProviders) -> FakeProviders:
    """The seven fake providers, with an empty script and nothing seen yet."""
    providers_process.reset()
    return providers_process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrefectServer]:
    """A real Prefect server; each worker of pytest-xdist has its own, on the next free port."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"), port=4300)
    await server.start()
    assert await server.ready(within=100), server.log_path.read_text()
    yield server
    await server.stop()
