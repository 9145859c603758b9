"""`headgate serve` as a person starts and stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.fakes.gateway import OURS, GatewayProcess
from tests.fakes.processes import alive
from tests.fakes.waiting import until

ASK = {"model": "big", "max_tokens": 200, "messages": [{"role": "user", "content": "Hello"}]}


def headgate(*arguments, **settings):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    return subprocess.run(
        [sys.executable, "-m", "headgate", *arguments],
        env=environment | settings, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_without_a_key_the_demo_answers():
    with GatewayProcess("--no-prefect") as gateway:
        answer = httpx.post(f"{gateway.url}/v1/messages", json=ASK)
        banner = "".join(gateway.output)
        time.sleep(0.1)
        assert "Warning" not in gateway.log()  # a newcomer's first start says nothing odd
    assert answer.headers["x-headgate-backend"] == "demo"
    assert "demo" in answer.json()["content"][0]["text"]
    assert "demo" in banner
    assert "no key" in banner


def test_a_backend_without_its_key_is_refused(tmp_path):
    done = headgate("serve", PROXY_BACKEND="OPENROUTER", HEADGATE_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "OPENROUTER_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_public_address_needs_a_key(tmp_path):
    done = headgate("serve", "--host", "0.0.0.0", HEADGATE_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "HEADGATE_API_KEYS" in done.stderr


def test_a_taken_port_is_told(tmp_path):
    with GatewayProcess("--no-prefect") as gateway:
        port = gateway.url.rpartition(":")[2]
        done = headgate("serve", "--port", port, "--no-prefect", HEADGATE_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert port in done.stderr


def test_version_and_environment():
    assert headgate("version").stdout.startswith("headgate ")
    told = headgate("env", "--port", "9999", HEADGATE_API_KEYS="it's").stdout
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:9999" in told
    assert """export ANTHROPIC_AUTH_TOKEN='it'"'"'s'""" in told


@pytest.mark.parametrize("command", ["serve", "claude", "env", "doctor", "version"])
def test_every_command_explains_itself(command):
    done = headgate(command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_the_doctor_finds_what_is_wrong(tmp_path):
    done = headgate(
        "doctor", OPENROUTER_API_KEY="k", OPENROUTER_BASE_URL="http://127.0.0.1:9/api/v1",
        HEADGATE_DATA_DIR=str(tmp_path), PREFECT_API_URL="http://127.0.0.1:9/api",
    )  # fmt: skip
    assert done.returncode == 1
    marks = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert len([line for line in done.stdout.splitlines() if "upstream" in line]) == 1
    assert marks["upstream"] == marks["prefect"] == "!!"
    assert marks["backend"] == marks["data"] == "ok"


def test_the_doctor_looks_at_every_backend(tmp_path, openrouter, backends):
    done = headgate(
        "doctor", OPENROUTER_API_KEYS="sk-one,sk-two", OPENROUTER_BASE_URL=openrouter.base_url,
        HEADGATE_DATA_DIR=str(tmp_path), **backends.databricks,
        **backends.anthropic | {"ANTHROPIC_API_KEY": "no"},
    )  # fmt: skip
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if "upstream" in line]
    assert [line[:2] for line in told] == ["ok"] * 3 + [
        "!!"
    ]  # LiteLLM's way to OpenRouter has the same two keys
    assert "OPENROUTER_API_KEYS (2 of 2)" in told[1]
    assert "DATABRICKS_TOKEN" in told[2]
    assert "refuses ANTHROPIC_API_KEY" in told[3]
    assert "sk-one" not in done.stdout


def test_the_banner_and_the_log_say_what_was_chosen_and_why(backends):
    with GatewayProcess("--no-prefect", **backends.databricks, **backends.anthropic) as gateway:
        banner, log = "".join(gateway.output), gateway.log()
        until(lambda: "anthropic:" in "".join(gateway.output))
    assert "AZURE_DATABRICKS (DATABRICKS_HOST and DATABRICKS_TOKEN are set)" in "".join(gateway.output), (
        banner
    )
    assert "backend chosen" in log
    assert "DATABRICKS_HOST and DATABRICKS_TOKEN are set" in log


def test_contradictions_do_not_start(tmp_path):
    done = headgate(
        "serve", OPENROUTER_API_KEY="k", USE_LITELLM="true", BYPASS_LITELLM_ENABLED="true",
        HEADGATE_DATA_DIR=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 2
    assert "USE_LITELLM" in done.stderr
    routed = headgate(
        "serve",
        OPENROUTER_API_KEY="k",
        HEADGATE_FALLBACKS='{"big": "databricks:x"}',
        HEADGATE_DATA_DIR=str(tmp_path),
    )
    assert routed.returncode == 2
    assert "HEADGATE_FALLBACKS" in routed.stderr


def test_claude_starts_with_the_right_environment(tmp_path):
    program = tmp_path / "claude"
    program.write_text(
        f"#!{sys.executable}\nimport json,os,sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
    )
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    with GatewayProcess("--no-prefect") as gateway:
        port = gateway.url.rpartition(":")[2]
        done = headgate("claude", "--port", port, "--", "-p", "hi", PATH=path, ANTHROPIC_API_KEY="theirs")
    arguments, environment = json.loads(done.stdout)
    assert arguments == ["-p", "hi"]
    assert environment["ANTHROPIC_BASE_URL"] == gateway.url
    assert "ANTHROPIC_API_KEY" not in environment
    silent = headgate("claude", "--port", "9", "--", "-p", "hi", PATH=path)
    assert silent.returncode == 1
    assert "headgate serve" in silent.stderr


def test_a_web_process_that_dies_is_started_again():
    with GatewayProcess("--no-prefect") as gateway:
        health = f"{gateway.url}/health/detailed"
        until(lambda: httpx.get(health).json()["processes"].get("web", {}).get("pid"))
        pid = httpx.get(health).json()["processes"]["web"]["pid"]
        os.kill(pid, signal.SIGKILL)

        def restarted():
            try:
                return httpx.get(health, timeout=5).json()["processes"]["web"]["restarts"] == 1
            except httpx.HTTPError:
                return False

        until(restarted)


def test_workers_share_the_port():
    with GatewayProcess("--no-prefect", "--workers", "2") as gateway:
        until(lambda: "web-1" in httpx.get(f"{gateway.url}/health/detailed").json()["processes"])
        answers = [httpx.post(f"{gateway.url}/v1/messages", json=ASK).status_code for _ in range(8)]
    assert answers == [200] * 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(number):
    gateway = GatewayProcess("--no-prefect").start()
    until(lambda: len(httpx.get(f"{gateway.url}/health/detailed").json()["processes"]) == 5)
    children = httpx.get(f"{gateway.url}/health/detailed").json()["processes"]
    until(lambda: holds_the_store(children["batches"]["pid"]))
    code = gateway.stop(number)
    assert code == (-9 if number == signal.SIGKILL else 0)
    until(lambda: not any(alive(child["pid"]) for child in children.values()))
    assert "by force" not in gateway.log()
    gateway.folder.cleanup()


def test_ctrl_c_before_it_answers_stops_it(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    environment |= {"HEADGATE_DATA_DIR": str(tmp_path), "HEADGATE_LOG_DIR": str(tmp_path / "logs")}
    argv = [sys.executable, "-m", "headgate", "serve", "--no-prefect", "--port", "0"]
    with subprocess.Popen(
        argv, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "backend chosen" in said
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()  # until its children are gone too
        assert process.wait(60) == 0
    assert "Stopping" in rest
    assert "Point Claude Code here" not in rest
    assert "Traceback" not in rest


def holds_the_store(pid):
    """Whether what executes batches has come so far that it waits for work."""
    return "headgate.db-shm" in Path(f"/proc/{pid}/maps").read_text()


def test_shutdown_ends_open_streams_with_an_error(openrouter):
    openrouter.script({"text": "word " * 500, "chunk": 5, "delay": 0.05})
    gateway = GatewayProcess(
        "--no-prefect",
        OPENROUTER_API_KEY="k",
        OPENROUTER_BASE_URL=openrouter.base_url,
        HEADGATE_GRACE_SECONDS="0.5",
    ).start()
    with httpx.stream("POST", f"{gateway.url}/v1/messages", json=ASK | {"stream": True}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: message_start"
        stopping = threading.Thread(target=gateway.stop)
        stopping.start()
        rest = "\n".join(lines)
    stopping.join()
    gateway.folder.cleanup()
    assert "overloaded_error" in rest
    assert "message_stop" not in rest
