"""Real gateways in front of the fake OpenRouter, one for each wire, kept for all tests of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anthropic
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.web import WebProcess
from tests.routers.universal import CASES, Case, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.handle import FakeOpenRouter, FakeProviders

BRISK = {
    "HEADGATE_FIRST_BYTE_TIMEOUT": "1.5",
    "HEADGATE_IDLE_TIMEOUT": "1.5",
    "HEADGATE_ANSWER_TIMEOUT": "2",
    "HEADGATE_PING_SECONDS": "0.3",
    "HEADGATE_RUNS": "off",
    "HEADGATE_COOLDOWN_AFTER": "0",  # tests of failures share a gateway; cooling down has its own
}


@pytest.fixture(autouse=True)
def _nothing_of_ours_runs_here(no_cover: None) -> None:
    """Have only processes traced: tracing what asks them costs time and tells nothing."""


def gateway_on(
    fake: FakeOpenRouter, *, whole: bool = False, traced: bool = False, **settings: str
) -> GatewayProcess:
    """Give a gateway in front of `fake`: its web process, or the `whole` of it with what the rest does."""
    given = {"OPENROUTER_API_KEY": "sk-or-v1-ours", "OPENROUTER_BASE_URL": fake.base_url}
    if whole or "HEADGATE_WORKERS" in settings:
        return GatewayProcess("--no-prefect", traced=traced, **(BRISK | given | settings))
    return WebProcess(traced=traced, **(BRISK | given | settings))


@pytest.fixture(scope="session")
def chat_process(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    with gateway_on(openrouter_process, whole=True, traced=True, OPENROUTER_WIRE="chat") as gateway:
        yield gateway


@pytest.fixture(scope="session")
def messages_process(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    with gateway_on(openrouter_process, whole=True, OPENROUTER_WIRE="messages") as gateway:
        yield gateway


@pytest.fixture(params=["chat", "messages"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gateway(wire: str, request: pytest.FixtureRequest) -> GatewayProcess:
    """The gateway on either wire."""
    process: GatewayProcess = request.getfixturevalue(f"{wire}_process")
    return process


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="client-key", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def universal_process(providers_process: FakeProviders) -> Iterator[GatewayProcess]:
    settings = {**BRISK, "HEADGATE_COOLDOWN_AFTER": "0", **providers_process.settings}
    with WebProcess(traced=True, **settings) as process:
        # LiteLLM is imported at the first request; its time is nobody's test.
        ask(process, {"model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]})
        yield process


@pytest.fixture(params=CASES)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(provider: str) -> Case:
    return CASES[provider]
