"""What `headgate serve` makes of a server that was killed, and of a stranger on its Prefect server's port."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.waiting import until

if TYPE_CHECKING:
    from tests.fakes.handle import FakeOpenRouter

ASK = {"model": "openai/gpt-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


def health(gateway: GatewayProcess) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{gateway.url}/health/detailed").json()
    return told


def state_of(api: str, name: str) -> str | None:
    """Give the state of the run of this name, None if there is none (yet)."""
    with suppress(httpx.HTTPError):
        found = httpx.post(f"{api}/flow_runs/filter", json={"flow_runs": {"name": {"any_": [name]}}})
        if found.status_code == 200 and found.json():
            return str(found.json()[0]["state_type"])
    return None


@pytest.mark.timeout(400)  # Prefect comes up twice
def test_runs_that_were_open_when_the_server_was_killed_are_closed_by_the_next(
    openrouter: FakeOpenRouter,
) -> None:
    openrouter.script({"text": "drop " * 400, "delay": 0.3})
    settings = {"OPENROUTER_API_KEY": "k", "OPENROUTER_BASE_URL": openrouter.base_url}
    first = GatewayProcess(**settings).start()
    with httpx.stream("POST", f"{first.url}/v1/messages", json=ASK | {"stream": True}) as answer:
        name = f"streaming-{answer.headers['request-id']}"
        api = health(first)["prefect"]["api_url"]
        until(lambda: state_of(api, name) == "RUNNING", 150)
        first.stop(signal.SIGKILL)
    journals = Path(first.environment["HEADGATE_DATA_DIR"]) / "recorder"
    (left,) = journals.glob("*.open")
    with GatewayProcess(**settings, HEADGATE_DATA_DIR=first.environment["HEADGATE_DATA_DIR"]) as second:
        api = health(second)["prefect"]["api_url"]
        until(lambda: state_of(api, name) == "CRASHED", 200)
        assert not left.exists()
    assert not list(journals.iterdir())
    first.folder.cleanup()


class Stranger(BaseHTTPRequestHandler):
    """Takes whatever it is sent, and keeps what for."""

    seen: list[str]

    def handle_one_request(self) -> None:
        with suppress(OSError):
            super().handle_one_request()

    def take(self) -> None:
        self.seen.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"id": "00000000-0000-0000-0000-000000000000"}')

    do_GET = do_POST = do_PATCH = take  # noqa: N815 - the names that its base calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Thief(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True


def steal(port: int) -> ThreadingHTTPServer:
    """Listen on a port as soon as who has it is gone."""
    limit = time.monotonic() + 20
    while True:
        try:
            return Thief(("127.0.0.1", port), Stranger)
        except OSError:
            assert time.monotonic() < limit
            time.sleep(0.001)


@pytest.mark.timeout(400)  # Prefect comes up twice
def test_a_stranger_on_prefects_port_gets_no_runs_and_prefects_new_place_does(
    openrouter: FakeOpenRouter,
) -> None:
    openrouter.script({"text": "drop", "times": 0})
    Stranger.seen = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        wanted = free.getsockname()[1]
    settings = {"OPENROUTER_API_KEY": "k", "OPENROUTER_BASE_URL": openrouter.base_url}
    with GatewayProcess(**settings, PREFECT_SERVER_API_PORT=str(wanted)) as gateway:
        parts = until(lambda: (p := health(gateway)["parts"])["prefect"]["state"] == "ok" and p, 150)
        assert parts["recorder"]["state"] == "ok"
        api = health(gateway)["prefect"]["api_url"]
        os.kill(health(gateway)["processes"]["prefect"]["pid"], signal.SIGKILL)
        thief = steal(httpx.URL(api).port or 0)
        threading.Thread(target=thief.serve_forever, daemon=True).start()
        answer = httpx.post(f"{gateway.url}/v1/messages", json=ASK)
        name = f"messages-{answer.headers['request-id']}"
        until(lambda: "not our Prefect server" in str(health(gateway)["recorder"].get("trouble")))
        part = health(gateway)["parts"]["prefect"]
        assert part["state"] in {"down", "degraded"}
        assert "somebody" in part["last_error"]
        until(lambda: "has moved" in gateway.log(), 150)
        moved = until(lambda: health(gateway)["processes"]["prefect"].get("ui_url"))
        assert f"{moved}/api" != api
        until(lambda: state_of(f"{moved}/api", name) == "COMPLETED", 150)
        assert moved in health(gateway)["parts"]["prefect"]["last_error"]
        told = ("/flows/", "/flow_runs/", "/artifacts/", "/logs/", "/events")
        assert not {f"POST /api{path}" for path in told} & set(Stranger.seen)
        thief.shutdown()
        thief.server_close()
