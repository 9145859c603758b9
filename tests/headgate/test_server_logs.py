"""A whole `headgate serve`: its folder, its log lines, its errors over the endpoints and the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess

ASK = {
    "model": "openai/gpt-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "A prompt of mine"}],
}
KEY = "sk-or-v1-the-key-of-the-upstream"
ADMIN = "an-admin-key-for-tests"


@pytest.fixture(scope="module")
def gateway(openrouter_process):
    settings = {
        "OPENROUTER_API_KEY": KEY, "OPENROUTER_BASE_URL": openrouter_process.base_url,
        "OPENROUTER_WIRE": "chat",
        "HEADGATE_RETRIES": "0", "HEADGATE_ADMIN_KEYS": ADMIN, "HEADGATE_WORKERS": "2",
        "DATABASE_URL": "postgresql://u:database-password@127.0.0.1/x",
    }  # fmt: skip
    with GatewayProcess("--no-prefect", traced=True, **settings) as process:
        yield process


@pytest.fixture
def folder(gateway):
    (found,) = Path(gateway.environment["HEADGATE_LOG_DIR"]).iterdir()
    return found


def ask(gateway, **more):
    return httpx.post(f"{gateway.url}/v1/messages", json=ASK | more)


def look(gateway, path, **query):
    headers = {"x-headgate-admin-key": ADMIN}
    return httpx.get(f"{gateway.url}/debug/{path}", params=query, headers=headers)


def lines_of(path, found):
    """Give the file's lines, once one of them is what is looked for: they are written by a timer."""
    limit = time.monotonic() + 60
    while not any(map(found, lines := whole_lines(path.read_text() if path.exists() else ""))):
        assert time.monotonic() < limit, f"not in {path}: {lines}"
        time.sleep(0.05)
    return lines


def whole_lines(text):
    """Give the lines of a file that others append to: the last one may not be all there."""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def headgate(gateway, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "headgate", *arguments],
        env=gateway.environment, cwd=gateway.folder.name, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_folder_says_what_was_started_and_is_private(gateway, folder):
    assert re.fullmatch(r"server_[0-9a-f]{8}", folder.name)
    facts = json.loads((folder / "instance.json").read_text())
    assert facts["pid"] == gateway.process.pid
    assert facts["settings"]["HEADGATE_WORKERS"] == 2
    assert facts["settings"]["OPENROUTER_API_KEY"] == "***"
    assert facts["settings"]["HEADGATE_ADMIN_KEYS"] == "1 keys"
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for secret in (KEY, ADMIN, "database-password"):
            assert secret not in path.read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert look(gateway, "server/instance").json()["id"] == facts["id"]


def test_every_request_has_one_line(gateway, openrouter, folder):
    openrouter.script({"text": "fine", "times": 0})
    names = [ask(gateway, stream=stream).headers["request-id"] for stream in (False, True, False)]
    for name in names:  # two processes write, each by its own timer
        lines = lines_of(folder / "requests.jsonl", lambda one, name=name: one["id"] == name)
    own = sorted((one for one in lines if one["id"] in names), key=lambda one: names.index(one["id"]))
    assert [one["id"] for one in own] == names
    assert [one["flow"] for one in own] == ["messages", "streaming", "messages"]
    for one in own:
        assert (one["status"], one["backend"], one["model"]) == (200, "openrouter", "openai/gpt-5")
        assert one["output_tokens"] > 0
        assert one["attempts"] == 1
        assert "prompt of mine" not in json.dumps(one)


def test_an_error_is_found_by_what_the_client_was_told(gateway, openrouter, folder):
    openrouter.script({"status": 500, "message": "as told", "times": 0})
    answer = ask(gateway)
    known = re.search(r"\[error ([0-9a-f]{12})\]$", answer.json()["error"]["message"])[1]
    lines_of(folder / "errors.jsonl", lambda one: one["hash"] == known)
    one = look(gateway, f"errors/hash/{known}").json()
    assert one["type"] == "UpstreamFailed"
    assert one["occurrences"][0]["request"]["id"] == answer.headers["request-id"]
    assert any(around["line"] == one["line"] for around in one["around"])
    (found,) = look(gateway, "errors/search", request_id=answer.headers["request-id"]).json()["data"]
    assert found["server"] == folder.name.removeprefix("server_")
    assert look(gateway, "errors/search", text="no such text").json()["data"] == []
    assert look(gateway, "errors/search", backend="openrouter", limit=1).json()["next_offset"] in {None, 1}

    shown = headgate(gateway, "errors", "show", known)
    assert shown.returncode == 0, shown.stderr
    assert answer.headers["request-id"] in shown.stdout
    assert one["code"] in shown.stdout
    assert known in headgate(gateway, "errors", "list").stdout
    assert known in headgate(gateway, "errors", "search", "--type", "UpstreamFailed").stdout
    assert json.loads(headgate(gateway, "errors", "stats", "--json").stdout)["errors"] >= 1


def test_an_upstreams_own_words_stay_its_own(gateway, openrouter):
    openrouter.script({"status": 400, "message": "as told", "times": 0})
    message = ask(gateway).json()["error"]["message"]
    assert "[error" not in message


def test_a_refusal_outside_of_any_flow_is_noted_too(gateway, folder):
    answer = httpx.get(f"{gateway.url}/no/such/path")
    name = answer.headers["request-id"]
    lines = lines_of(folder / "errors.jsonl", lambda one: one.get("request_id") == name)
    (one,) = [one for one in lines if one.get("request_id") == name]
    assert (one["status"], one["type"], one["stack"]) == (404, "NotFound", None)
    lines = lines_of(folder / "requests.jsonl", lambda line: line["id"] == name)
    (line,) = [line for line in lines if line["id"] == name]
    assert (line["status"], line["error"], line["error_hash"]) == (404, "NotFound", one["hash"])
    assert (line["path"], line["flow"]) == ("/no/such/path", None)


def test_a_refused_client_has_its_line_too(gateway, folder):
    body = {"model": "big", "max_tokens": 5, "messages": [{"role": "user", "content": "prompt of mine"}]}
    refused = httpx.post(f"{gateway.url}/v1/messages", json=body, headers={"x-headgate-cache": "?"})
    assert refused.status_code == 400
    name = refused.headers["request-id"]
    lines = lines_of(folder / "requests.jsonl", lambda line: line["id"] == name)
    (line,) = [line for line in lines if line["id"] == name]
    assert (line["status"], line["model"], line["path"]) == (400, "big", "/v1/messages")
    assert line["error_hash"]
    assert line["ms"] >= 0
    assert "prompt of mine" not in str(line)


def test_the_debug_routes_are_for_managers(gateway):
    for path in ("errors/hash/0123456789ab", "errors/search", "errors/registry", "errors/enhanced/stats"):
        assert httpx.get(f"{gateway.url}/debug/{path}").status_code == 401
    assert httpx.get(f"{gateway.url}/debug/server/instance").status_code == 401
    assert look(gateway, "errors/hash/0123456789ab").status_code == 404
    assert look(gateway, "errors/search", limit=0).status_code == 400


def test_the_registry_has_every_kind_of_place(gateway):
    page = look(gateway, "errors/registry", limit=1000).json()
    assert {row["kind"] for row in page["data"]} >= {"pipeline", "step", "raise", "except"}
    counts = [row["count"] for row in page["data"]]
    assert counts == sorted(counts, reverse=True)
    scanned = json.loads(headgate(gateway, "errors", "scan", "--json").stdout)
    assert {row["hash"] for row in page["data"] if row["hash"]} <= {row["hash"] for row in scanned}


def test_log_lines_are_json_and_know_their_request(gateway, openrouter):
    openrouter.script({"status": 500, "message": f"the key {KEY} is wrong", "times": 0})
    name = ask(gateway).headers["request-id"]
    limit = time.monotonic() + 60
    while not (own := [line for line in whole_lines(gateway.log()) if line.get("request_id") == name]):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert own[0]["run"] == f"messages-{name}"
    assert KEY not in gateway.log()
    assert "prompt of mine" not in gateway.log()


def test_a_process_that_dies_is_noted(gateway, folder):
    before = set(_web_pids(gateway))
    os.kill(next(iter(before)), signal.SIGKILL)
    lines = lines_of(folder / "errors.jsonl", lambda one: one["type"] == "ChildEnded")
    one = next(one for one in lines if one["type"] == "ChildEnded")
    assert one["process"] == "supervisor"
    assert one["child"].startswith("web-")


def _web_pids(gateway):
    states = httpx.get(f"{gateway.url}/health/detailed").json()["processes"]
    return [state["pid"] for name, state in states.items() if name.startswith("web-")]
