"""A burst of requests, and whether the embedded Prefect server goes on answering."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.waiting import until

if TYPE_CHECKING:
    from tests.fakes.handle import FakeOpenRouter

ASK = {"model": "openai/gpt-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
CLIENTS = 8
BURST_SECONDS = 5.0
PATIENCE = 20.0
"""Far more than a wait for the database takes, on a busy machine too; that was up to 60 before."""


class Watch(threading.Thread):
    """Asks for one address again and again until `ended`, and keeps the longest time without an answer."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.longest = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=90) as client:
            while not self.ended.wait(0.2):
                asked = time.monotonic()
                with suppress(httpx.HTTPError):
                    client.get(self.url)
                self.longest = max(self.longest, time.monotonic() - asked)


def burst(url: str) -> None:
    def ask() -> None:
        limit = time.monotonic() + BURST_SECONDS
        with httpx.Client(timeout=60) as client:
            while time.monotonic() < limit:
                assert client.post(f"{url}/v1/messages", json=ASK).status_code == 200

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


@pytest.mark.kills  # nothing is killed, but it takes minutes
@pytest.mark.timeout(400)  # Prefect comes up, and writes some dozens of runs
def test_prefect_answers_during_and_after_a_burst(openrouter: FakeOpenRouter) -> None:
    openrouter.script({"text": "drop " * 10, "times": 0})
    with GatewayProcess(OPENROUTER_API_KEY="k", OPENROUTER_BASE_URL=openrouter.base_url) as gateway:

        def recorder() -> dict[str, Any]:
            told: dict[str, Any] = httpx.get(f"{gateway.url}/health/detailed").json()["recorder"]
            return told

        api = httpx.get(f"{gateway.url}/health/detailed").json()["prefect"]["api_url"]
        until(lambda: is_up(f"{api}/health"), 120)
        watch = Watch(f"{api}/health")
        watch.start()
        burst(gateway.url)
        until(lambda: recorder().get("waiting") == 0, 200)
        told = recorder()
        assert told["recorded"] > 0
        assert told["open"] == 0
        watch.ended.set()
        watch.join()
    assert watch.longest < PATIENCE


def is_up(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False
