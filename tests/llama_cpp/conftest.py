"""A Headgate in front of llama.cpp's server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.llama_cpp import install
from tests.llama_cpp.server import LlamaServer

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.llama)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    assert install.installed(), "llama.cpp is not there: run `make e2e-llama`, or set HEADGATE_E2E_LLAMA"
    with LlamaServer(tmp_path_factory.mktemp("llama")) as server:
        yield server


def gateway_on(llama: LlamaServer) -> GatewayProcess:
    settings = {"PROXY_BACKEND": "OPENAI_COMPATIBLE", "OPENAI_COMPATIBLE_BASE_URL": f"{llama.url}/v1"}
    return GatewayProcess("--no-prefect", **settings)


@pytest.fixture(scope="session")
def gateway(llama: LlamaServer) -> Iterator[GatewayProcess]:
    with gateway_on(llama) as process:
        yield process


@pytest.fixture
def thinker(tmp_path: Path) -> Iterator[anthropic.Anthropic]:
    """A client of a gateway whose model thinks before it answers."""
    with (
        LlamaServer(tmp_path, thinks=True) as server,
        gateway_on(server) as process,
        anthropic.Anthropic(base_url=process.url, api_key="none", max_retries=0) as client,
    ):
        yield client


@pytest.fixture
def claude(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client
