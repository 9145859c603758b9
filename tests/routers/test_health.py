"""Health: alive, ready, in detail, and what of Claude Code works; at real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from coordinators.claude_code_checks import CHECK_TOOL, MCP_TOOL
from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeOpenRouter

NAMES = ["streaming", "tools", "parallel_tools", "thinking", "vision", "count_tokens", "mcp"]

WEATHER = {"name": CHECK_TOOL, "input": {"city": "Lima"}}
ABLE = [
    {"when": {"tool_result": True}, "text": "It says heron.", "times": 0},
    {"when": {"tool": MCP_TOOL}, "tools": [{"name": MCP_TOOL, "input": {"name": "river"}}], "times": 0},
    {"when": {"user": "Oslo"}, "tools": [WEATHER, {**WEATHER, "input": {"city": "Oslo"}}], "times": 0},
    {"when": {"tool": CHECK_TOOL}, "tools": [WEATHER], "times": 0},
    {"when": {"user": "17 times 23"}, "reasoning": "Twenty times…", "text": "391", "times": 0},
    {"when": {"user": "colour"}, "text": "Red.", "times": 0},
    {"text": "Rivers run.", "times": 0},
]


@pytest.fixture(scope="module")
def checked(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    with gateway_on(openrouter_process, whole=True, OPENROUTER_WIRE="chat", HEADGATE_RETRIES="0") as gateway:
        # the counter's process takes seconds to start; its time is nobody's test
        body = {"model": "big", "messages": [{"role": "user", "content": "Hi"}]}
        httpx.post(f"{gateway.url}/v1/messages/count_tokens", json=body, timeout=60).raise_for_status()
        yield gateway


def check(gateway: GatewayProcess, model: str = "big", **query: Any) -> dict[str, Any]:
    found = httpx.get(f"{gateway.url}/health/claude-code", params={"model": model, **query}, timeout=120)
    assert found.status_code == 200, found.text
    (one,) = found.json()["models"]
    return dict(one)


def outcomes(told: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["outcome"] for one in told["checks"]}


@pytest.mark.parametrize("wire", ["chat", "messages"])
def test_a_model_that_can_do_everything(openrouter, wire, request):
    gateway = (
        request.getfixturevalue("checked") if wire == "chat" else request.getfixturevalue("messages_process")
    )
    openrouter.script(*ABLE)
    told = check(gateway, refresh=1)
    assert outcomes(told) == dict.fromkeys(NAMES, "works"), told
    assert (told["compatibility_percent"], told["missing"], told["not_found_out"]) == (100, [], [])
    assert told["upstream_model"] == "anthropic/claude-sonnet-4"
    asked = openrouter.requests(wire)
    assert len(asked) == 7  # one for each, a second for the tool's result; counting asks nobody
    assert sum(bool(seen["body"].get("stream")) for seen in asked) == 1
    assert "image" in str(asked)


def test_what_is_missing_is_told_in_words_and_kept(checked, openrouter):
    openrouter.script({"text": "I would rather talk.", "times": 0})
    told = check(checked, refresh=1)
    assert outcomes(told) == {
        "streaming": "works", "tools": "missing", "parallel_tools": "missing", "thinking": "missing",
        "vision": "missing", "count_tokens": "works", "mcp": "missing",
    }  # fmt: skip
    assert told["compatibility_percent"] == round(100 * 2 / 7)
    assert "tools: the model answered in words where it was told to call a tool" in told["missing"]
    assert any(
        line.startswith("thinking: the answer came without a thinking block") for line in told["missing"]
    )
    seen = len(openrouter.requests("chat"))
    openrouter.script(*ABLE)
    again = check(checked)
    assert again == told | {"kept_from_before": True}
    assert len(openrouter.requests("chat")) == seen
    assert check(checked, refresh=1)["compatibility_percent"] == 100


RIVERS, OSLO, COLOUR, NOTE = {"user": "rivers"}, {"user": "Oslo"}, {"user": "colour"}, {"tool": MCP_TOOL}


@pytest.mark.parametrize(
    ("when", "reply", "name", "words"),
    [
        (RIVERS, {"fault": "error_frame", "after": 2, "text": "Riv"}, "streaming", "error event"),
        (RIVERS, {"status": 400, "message": "no <b>streams</b>"}, "streaming", "400 no <b>"),
        (OSLO, {"tools": [WEATHER]}, "parallel_tools", "made 1 call"),
        (COLOUR, {"text": "A rendered picture."}, "vision", "may not have been seen"),
        (NOTE, {"tools": [{"name": "read_note", "input": {"x": 1}}]}, "mcp", "instead of"),
        (NOTE, {"tools": [{"name": MCP_TOOL, "input": {}}]}, "mcp", "without the input"),
    ],
)
def test_one_thing_missing(checked, openrouter, when, reply, name, words):
    openrouter.script(reply | {"when": when, "times": 0}, *ABLE)
    told = check(checked, "small", refresh=1)
    assert outcomes(told) == dict.fromkeys(NAMES, "works") | {name: "missing"}, told
    assert words in told["missing"][0]
    assert told["compatibility_percent"] == 86


def test_a_backend_that_is_down_says_nothing_of_the_model(checked, openrouter):
    openrouter.script({"status": 503, "message": "down", "times": 0})
    told = check(checked, "openai/gpt-5")
    assert outcomes(told) == dict.fromkeys(NAMES, "unknown") | {"count_tokens": "works"}
    assert told["missing"] == []
    assert len(told["not_found_out"]) == 6
    openrouter.script(*ABLE)
    assert check(checked, "openai/gpt-5")["compatibility_percent"] == 100  # a failed run is not kept


def test_who_may_set_it_off(checked, openrouter):
    for headers in (
        {"host": "evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        answer = httpx.get(f"{checked.url}/health/claude-code", headers=headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    wrong = httpx.get(f"{checked.url}/health/claude-code", params={"model": "databricks:x"})
    assert wrong.status_code == 404
    assert openrouter.requests() == []


def test_one_run_at_a_time_for_all_who_ask(checked, openrouter):
    openrouter.script(*({**rule, "first_delay": 0.1} for rule in ABLE))
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: check(checked, "openai/gpt-5-once"), range(4)))
    assert sorted(one["kept_from_before"] for one in told) == [False, True, True, True]
    assert len(openrouter.requests("chat")) == 7


def test_the_parts_have_state_latency_and_last_error(checked, openrouter):
    openrouter.script({"status": 502, "message": "down"})
    body = {"model": "big", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    assert httpx.post(f"{checked.url}/v1/messages", json=body).status_code == 500
    assert httpx.post(f"{checked.url}/v1/messages", json=body).status_code == 200
    limit = time.monotonic() + 60
    while True:
        told = httpx.get(f"{checked.url}/health/detailed").json()
        backend = told["parts"]["backend:openrouter"]
        if backend["latency_ms"]:  # the request log is a moment behind
            break
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert (backend["state"], backend["last_error"]) == ("ok", "UpstreamFailed")
    assert backend["last_error_at"]
    for name, part in told["parts"].items():
        assert {"state", "latency_ms", "last_error", "last_error_at"} <= set(part), name
    wanted = {
        "traces",
        "usage_store",
        "cache",
        "batch_store",
        "recorder",
        "prefect",
        "log_folder",
        "process:web",
        "process:maintenance",
    }
    assert wanted <= set(told["parts"])
    assert told["parts"]["prefect"]["state"] == "off"
    assert told["status"] == "ok"
    assert "sk-or-v1-ours" not in str(told)


def test_a_store_that_is_used_is_asked(checked):
    assert httpx.get(f"{checked.url}/v1/messages/batches", timeout=60).status_code == 200
    assert httpx.get(f"{checked.url}/v1/cache/stats").status_code == 200
    parts = httpx.get(f"{checked.url}/health/detailed").json()["parts"]
    for name in ("batch_store", "cache"):
        assert parts[name]["state"] == "ok"
        assert parts[name]["latency_ms"] > 0


def test_prefect_and_the_recorder_that_cannot_be_reached(openrouter):
    settings = {"PREFECT_API_URL": "http://me:hidden-word@127.0.0.1:9/api", "HEADGATE_RUNS": "express"}
    with gateway_on(openrouter, whole=True, **settings) as gateway:
        told = httpx.get(f"{gateway.url}/health/detailed").json()
        assert told["prefect"] == {"api_url": "http://127.0.0.1:9/api", "ui_url": "http://127.0.0.1:9"}
        assert told["parts"]["prefect"]["state"] == "down"
        assert "cannot connect" in told["parts"]["prefect"]["last_error"]
        assert told["status"] == "degraded"
        assert httpx.get(f"{gateway.url}/health/ready").status_code == 200  # it serves all the same
        pages = [httpx.get(f"{gateway.url}{path}").text for path in ("/", "/health/detailed", "/overview")]
        files = [path for path in Path(gateway.folder.name).rglob("*") if path.is_file()]
        told_of = pages + gateway.output + [path.read_bytes().decode("latin-1") for path in files]
        assert any("http://127.0.0.1:9" in one for one in told_of)
        assert [one for one in told_of if "hidden-word" in one] == []
        assert [line for line in _command_lines() if "hidden-word" in line] == []


def test_a_process_that_ended_by_itself_leaves_its_last_error(openrouter):
    with gateway_on(openrouter, whole=True) as gateway:
        limit = time.monotonic() + 90
        while not (pid := _part(gateway, "maintenance").get("pid")):
            assert time.monotonic() < limit
            time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        while (part := _part(gateway, "maintenance")).get("restarts") != 1 or part["state"] != "ok":
            assert time.monotonic() < limit
            time.sleep(0.2)
        assert part["last_error"] == "ended by itself with -9"
        assert part["last_error_at"]


def _command_lines() -> list[str]:
    """Give the command lines of all processes, as anybody on the machine sees them."""
    told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()


def _part(gateway: GatewayProcess, process: str) -> dict[str, Any]:
    told = httpx.get(f"{gateway.url}/health/detailed").json()
    return dict(told["parts"].get(f"process:{process}", {}))


def test_a_draining_server_is_not_ready_but_serves(openrouter):
    with gateway_on(openrouter, whole=True, HEADGATE_DRAIN_SECONDS="15") as gateway:
        ready = httpx.get(f"{gateway.url}/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        limit = time.monotonic() + 30  # it may still start the rest of its processes
        while (answer := httpx.get(f"{gateway.url}/health/ready")).status_code == 200:
            assert time.monotonic() < limit
            time.sleep(0.02)
        assert answer.status_code == 503
        assert answer.json()["missing"] == ["the server is draining: it is about to stop"]
        body = {"model": "big", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        assert httpx.post(f"{gateway.url}/v1/messages", json=body).status_code == 200
        assert gateway.process.wait(60) == 0


def test_a_follower_of_the_overview_does_not_hold_up_the_end(openrouter):
    with gateway_on(openrouter, whole=True, HEADGATE_GRACE_SECONDS="150") as gateway:
        with httpx.stream("GET", f"{gateway.url}/overview/events", timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: sections"
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass  # it comes to its end, not to a broken connection
        assert gateway.process.wait(60) == 0  # long before the grace time is over
