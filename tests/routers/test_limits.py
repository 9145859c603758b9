"""Client keys of the store at real web processes: who is let in, how far, and what is written down of it."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import pytest
from typer.testing import CliRunner

from headgate.cli import app
from tests.fakes.gateway import GatewayProcess
from tests.fakes.waiting import until
from tests.fakes.web import WebProcess
from tests.routers.test_answers import ASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes.handle import FakeBackends, FakeOpenRouter


def headgate(folder: Path, *words: str) -> str:
    """Run a command on the database of the process in `folder`; gives what it printed."""
    settings = {"HEADGATE_DATA_DIR": str(folder / "data"), "DATABASE_URL": "", "COLUMNS": "200"}
    done = CliRunner().invoke(app, [*words], env=settings)
    assert done.exit_code == 0, done.output
    return done.stdout


def make_key(folder: Path, name: str, *options: str) -> str:
    return str(json.loads(headgate(folder, "keys", "create", name, "--json", *options))["key"])


def knows(web: WebProcess, key: str) -> bool:
    return httpx.get(f"{web.url}/v1/models", headers={"x-api-key": key}).status_code == 200


def asks_for_keys(web: WebProcess) -> bool:
    return httpx.get(f"{web.url}/v1/models").status_code == 401


def used(folder: Path, by: str = "key") -> dict[str, Any]:
    rows = json.loads(headgate(folder, "usage", "--by", by, "--json"))["rows"]
    return {row[by]: row for row in rows}


def start(folder: Path, fake: FakeOpenRouter, **settings: str) -> WebProcess:
    given = {"OPENROUTER_BASE_URL": fake.base_url, "OPENROUTER_WIRE": "chat", "HEADGATE_RETRIES": "0"}
    return WebProcess(folder, **(given | settings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def web_process(folder: Path, openrouter_process: FakeOpenRouter) -> Iterator[WebProcess]:
    with start(folder, openrouter_process) as web:
        yield web


@pytest.fixture
def web(web_process: WebProcess, openrouter: FakeOpenRouter) -> WebProcess:
    return web_process


@pytest.fixture
def client_for(web: WebProcess, folder: Path) -> Iterator[Callable[..., anthropic.Anthropic]]:
    """Make a key with these options, and an SDK client that shows it to the server, which knows it."""
    clients = []

    def make(name: str, *options: str) -> anthropic.Anthropic:
        key = make_key(folder, name, *options)
        until(lambda: asks_for_keys(web) and knows(web, key))
        client = anthropic.Anthropic(base_url=web.url, api_key=key, max_retries=0)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


def told(error: anthropic.APIStatusError) -> tuple[int, str, str]:
    body = error.body
    assert isinstance(body, dict)
    return error.status_code, body["error"]["type"], body["error"]["message"]


def test_a_key_is_asked_for_as_soon_as_there_is_one_until_it_is_revoked(web, folder, openrouter):
    assert httpx.post(f"{web.url}/v1/messages", json=ASK).status_code == 200
    key = make_key(folder, "first")
    until(lambda: asks_for_keys(web))
    assert httpx.post(f"{web.url}/v1/messages", json=ASK).status_code == 401
    with anthropic.Anthropic(base_url=web.url, api_key=key, max_retries=0) as client:
        client.messages.create(**ASK)
        headgate(folder, "keys", "revoke", "first")
        until(lambda: not knows(web, key))
        with pytest.raises(anthropic.AuthenticationError, match="'first', was revoked"):
            client.messages.create(**ASK)
    assert key not in web.log()


def test_requests_a_minute(web, client_for, openrouter):
    client = client_for("brisk", "--rpm", "2")
    for _ in range(2):
        client.messages.create(**ASK)
    with pytest.raises(anthropic.RateLimitError) as refused:
        client.messages.create(**ASK)
    status, kind, message = told(refused.value)
    assert (status, kind) == (429, "rate_limit_error")
    assert "the key 'brisk' has reached its limit of 2 requests a minute" in message
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60
    assert len(openrouter.requests("chat")) == 2
    metrics = httpx.get(f"{web.url}/metrics", headers={"x-api-key": client.api_key}).text
    counted = re.search(r"^headgate_limited_requests_total (\d+)", metrics, re.MULTILINE)
    assert counted, metrics
    assert int(counted[1]) >= 1


def test_tokens_a_minute_are_those_of_answers(client_for, openrouter):
    openrouter.script({"text": "x", "usage": {"input": 90, "output": 20}, "times": 1})
    client = client_for("chatty", "--tpm", "100")
    with client.messages.stream(**ASK) as stream:
        stream.get_final_message()
    with pytest.raises(anthropic.RateLimitError, match="100 tokens a minute"):
        client.messages.create(**ASK)


def test_dollars_a_day_hold_across_processes_and_kills(web, folder, client_for, openrouter, tmp_path):
    openrouter.script({"text": "x", "usage": {"input": 9, "output": 2, "cost": 0.6}, "times": 2})
    client = client_for("thrifty", "--daily-usd", "1")
    client.messages.create(**ASK)
    with client.messages.stream(**ASK) as stream:
        stream.get_final_message()
    with pytest.raises(anthropic.PermissionDeniedError) as refused:
        client.messages.create(**ASK)
    status, kind, message = told(refused.value)
    assert (status, kind) == (403, "permission_error")
    assert "used up its $1.00 a day ($1.20 spent)" in message
    assert "00:00 UTC" in message
    until(lambda: used(folder).get("thrifty", {}).get("refused"))
    with start(tmp_path, openrouter, HEADGATE_DATA_DIR=str(folder / "data")) as other:
        with (
            anthropic.Anthropic(base_url=other.url, api_key=client.api_key, max_retries=0) as there,
            pytest.raises(anthropic.PermissionDeniedError, match=r"\$1.20 spent"),
        ):
            there.messages.create(
                **ASK
            )  # a limit holds at a process that starts, and the others' part counts
        other.process.send_signal(signal.SIGKILL)
        other.process.wait(20)
    row = used(folder)["thrifty"]
    assert (row["requests"], row["cost"], row["estimated"]) == (2, pytest.approx(1.2), 0)


def test_two_processes_share_a_rate(web, folder, client_for, openrouter, tmp_path):
    client = client_for("everywhere", "--rpm", "4")
    with (
        start(tmp_path, openrouter, HEADGATE_DATA_DIR=str(folder / "data")) as other,
        anthropic.Anthropic(base_url=other.url, api_key=client.api_key, max_retries=0) as there,
    ):
        for _ in range(4):
            client.messages.create(**ASK)

        def refused() -> bool:
            try:
                there.messages.create(**ASK | {"model": "refused-soon"})
            except anthropic.RateLimitError:
                return True
            except anthropic.APIStatusError:
                return False
            return False

        until(refused)


def test_a_key_for_some_models(web, client_for, openrouter):
    client = client_for("narrow", "--models", "claude-haiku-*,small")
    client.messages.create(**ASK | {"model": "claude-haiku-4-5"})
    with pytest.raises(anthropic.PermissionDeniedError, match=r"may not ask for 'claude-opus-4-6'"):
        client.messages.create(**ASK)
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    bearer = {"authorization": f"Bearer {client.api_key}"}
    answer = httpx.post(f"{web.url}/v1/chat/completions", json=chat, headers=bearer)
    assert answer.status_code == 403
    assert "may not ask for 'gpt-4o'" in answer.json()["error"]["message"]


def test_what_was_used_is_written_down(web, folder, client_for, openrouter):
    openrouter.script(
        {"text": "x", "usage": {"input": 100, "output": 7, "cached": 40, "cost": 0.25}, "times": 2}
    )
    client = client_for("counted")
    session = {"x-claude-code-session-id": "session-of-a-test"}
    client.messages.create(**ASK, extra_headers=session)
    with client.messages.stream(**ASK, extra_headers=session) as stream:
        stream.get_final_message()
    row = until(lambda: (row := used(folder).get("counted")) and row["requests"] == 2 and row)
    assert (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (200, 14, 80)
    assert (row["cost"], row["errors"]) == (0.5, 0)
    assert used(folder, "session")["session-of-a-test"]["requests"] == 2
    listed = {one["name"]: one for one in json.loads(headgate(folder, "keys", "list", "--json"))}
    assert listed["counted"]["month"] == {"requests": 2, "tokens": 214, "cost": 0.5}
    assert listed["counted"]["last_used_at"] is not None


def test_a_cost_that_the_upstream_does_not_tell_is_estimated(tmp_path, backends: FakeBackends):
    settings = {"PROXY_BACKEND": "ANTHROPIC", "OPENROUTER_API_KEY": "", **backends.anthropic}
    with WebProcess(tmp_path, **settings) as web:
        answer = httpx.post(f"{web.url}/v1/messages", json=ASK | {"model": "claude-sonnet-4-5"})
        assert answer.status_code == 200
        row = until(lambda: used(tmp_path, "model").get("claude-sonnet-4-5"))
    assert row["cost"] == row["estimated"] > 0
    assert row["unpriced"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_openrouter_s_answers_without_a_cost_are_held_to_dollars(web, folder, client_for, openrouter, stream):
    openrouter.script({"text": "x", "usage": {"input": 50_000, "output": 10, "cost": None}, "times": 0})
    name = f"untold-{stream}"
    client = client_for(name, "--daily-usd", "0.2")

    def refused() -> bool:
        try:
            if stream:
                with client.messages.stream(**ASK) as answer:
                    answer.get_final_message()
            else:
                client.messages.create(**ASK)
        except anthropic.PermissionDeniedError:
            return True
        return False

    until(refused)
    row = until(lambda: (row := used(folder).get(name)) and row["refused"] and row)
    assert row["estimated"] == row["cost"] == pytest.approx((row["requests"] - row["unpriced"]) * 0.15015)


def test_a_database_that_is_down_hurts_nobody(tmp_path, openrouter: FakeOpenRouter):
    with start(tmp_path, openrouter, DATABASE_URL="postgresql://u:p@127.0.0.1:9/none") as web:
        assert httpx.post(f"{web.url}/v1/messages", json=ASK).status_code == 200
        until(lambda: "the store of usage and keys failed" in web.log())
        assert httpx.post(f"{web.url}/v1/messages", json=ASK).status_code == 200


def test_with_a_stored_key_it_may_be_reached_from_elsewhere(openrouter: FakeOpenRouter, tmp_path):
    key = make_key(tmp_path, "remote")
    settings = {"OPENROUTER_API_KEY": "k", "OPENROUTER_BASE_URL": openrouter.base_url}
    with GatewayProcess(
        "--no-prefect", "--host", "0.0.0.0", HEADGATE_DATA_DIR=str(tmp_path / "data"), **settings
    ) as gateway:
        url = gateway.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/v1/models", headers={"x-api-key": key}).status_code == 200
        assert key not in "".join(gateway.output)
