"""Fixtures that more than one folder of tests asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from coordinators import current
from coordinators.prefect_server import PrefectServer
from tests.fakes import prefect_database, tracing
from tests.fakes.handle import FakeBackends, FakeOpenRouter, FakeProviders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.hookimpl(trylast=True)  # after pytest-cov has begun
def pytest_sessionstart() -> None:
    tracing.keep_from_processes(os.environ)
    # httpx reads all authorities for every client: a quarter of a second at times, thousands of times.
    # Out of a folder they are read when one is needed; here, where all is plain HTTP on loopback, never.
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
    wait_for_answers()


def wait_for_answers() -> None:
    """Let httpx wait a minute, not 5 s, where a test says nothing: a busy machine is no fault of a server's.

    It is changed in place: the defaults of all of httpx's functions and clients are this one object.
    """
    default = httpx._config.DEFAULT_TIMEOUT_CONFIG
    default.connect = default.read = default.write = default.pool = 60


@pytest.fixture(autouse=True)
def no_request_is_answered() -> None:
    """Begin each test as a process does, whatever a synchronous one left in the one context they share."""
    current._current.set(None)


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
    try:
        assert await server.ready(within=200), server.log_path.read_text()  # it begins with nothing
        prefect_database.keep(server.home / "prefect.db")
        yield server
    finally:
        await server.stop()
