"""Requests through a whole `headgate serve`, read back from its embedded Prefect server."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path

import aiohttp
import httpx
import pytest
import pytest_asyncio

from tests.express.conftest import PrefectReader
from tests.fakes.gateway import GatewayProcess

PROMPT = "A prompt that only the upstream may see"
OUR_KEY = "sk-or-v1-only-for-the-upstream"
ASK = {"model": "openai/gpt-5", "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}


@pytest.fixture(scope="module")
def recorded(openrouter_process):
    """A gateway that records, and serves before its Prefect server is up."""
    settings = {"OPENROUTER_API_KEY": OUR_KEY, "OPENROUTER_BASE_URL": openrouter_process.base_url}
    settings["HEADGATE_FALLBACKS"] = '{"first/model": "second/model"}'
    with GatewayProcess(HEADGATE_RETRIES="1", **settings) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def reader(recorded):
    api = httpx.get(f"{recorded.url}/health/detailed").json()["prefect"]["api_url"]
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            try:
                async with session.get(f"{api}/health") as answer:
                    if answer.status == 200:
                        break
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
        yield PrefectReader(session, api)


def post(gateway, body):
    headers = {"x-claude-code-session-id": "session-of-the-test"}
    return httpx.post(f"{gateway.url}/v1/messages", json=body, headers=headers)


async def test_a_stream_is_seen_running_and_then_whole(recorded, openrouter, reader):
    openrouter.script({"text": "word " * 40, "hold": 5, "usage": {"input": 11, "output": 22}})
    async with httpx.AsyncClient() as client:
        body = ASK | {"stream": True, "min_p": 0.1, "thinking": {"type": "adaptive"}}
        async with client.stream("POST", f"{recorded.url}/v1/messages", json=body) as answer:
            name = f"streaming-{answer.headers['request-id']}"
            running = await reader.flow_run(name)
            assert running["state_name"] == "Running"
            openrouter.release()  # not before: a run that is created late is not seen while it sends
            await answer.aread()
    run = await reader.flow_run(name, "Completed")
    assert {"openrouter", "openai/gpt-5", "stream"} <= set(run["tags"])
    assert run["parameters"]["messages"] == 1
    steps = await reader.task_runs(run["id"], 8)
    fed = {name: task["feeds"] for name, task in steps.items()}
    first = {"validate_request-0", "resolve_model-0"}
    assert fed == {
        "validate_request-0": set(),
        "resolve_model-0": {"validate_request-0"},
        "inject_openrouter_parameters-0": first,
        "inject_openai_parameters-0": {"inject_openrouter_parameters-0", "resolve_model-0"},
        "apply_profile-0": {"inject_openai_parameters-0", "resolve_model-0"},
        "convert_request-0": {"apply_profile-0", "resolve_model-0"},
        "open_stream-0": {"convert_request-0"},
        "relay_stream-0": {"open_stream-0"},
    }
    artifact = await reader.artifact(run["id"])
    assert '"input_tokens"' in artifact["data"] or "input_tokens" in str(artifact["data"])
    assert "22" in str(artifact["data"])


async def test_a_run_appears_within_two_seconds_of_its_start(recorded, openrouter, reader):
    """By the run's own times, and the best of five: a busy machine may take its time once, not always."""
    took = []
    while not took or (min(took) > 2 and len(took) < 5):
        openrouter.script({"text": "Hello."})
        name = f"messages-{post(recorded, ASK).headers['request-id']}"
        run = await reader.flow_run(name, "Completed")
        artifact = await reader.artifact(run["id"])
        (started,) = [row["value"] for row in json.loads(artifact["data"]) if row["what"] == "started"]
        took.append(
            (datetime.fromisoformat(run["created"]) - datetime.fromisoformat(started)).total_seconds()
        )
    assert min(took) <= 2, took


async def test_a_failure_shows_its_error_and_every_attempt(recorded, openrouter, reader):
    openrouter.script({"status": 503, "message": "all busy", "times": 0})
    answer = post(recorded, ASK)
    run = await reader.flow_run(f"messages-{answer.headers['request-id']}", "Failed")
    assert "all busy" in run["state"]["message"]
    assert "session:session-of-the-test" in run["tags"]
    steps = await reader.task_runs(run["id"], 5)
    assert [name for name, task in steps.items() if task["state_name"] == "Failed"] != []
    assert {"call_backend-0", "call_backend-1"} <= set(steps)


async def test_a_fallback_shows_every_attempt_and_who_answered(recorded, openrouter, reader):
    openrouter.script({"status": 402, "message": "no credit"}, {"text": "From the second."})
    answer = post(recorded, ASK | {"model": "first/model"})
    assert answer.json()["model"] == "first/model"
    run = await reader.flow_run(f"messages-{answer.headers['request-id']}", "Completed")
    steps = await reader.task_runs(run["id"], 7)
    assert {name: task["state_name"] for name, task in steps.items()} == {
        "validate_request-0": "Completed", "resolve_model-0": "Completed",
        "convert_request-0": "Completed", "call_backend-0": "Failed",
        "convert_request-1": "Completed", "call_backend-1": "Completed", "render_message-0": "Completed",
    }  # fmt: skip
    artifact = await reader.artifact(run["id"])
    assert "openrouter: second/model" in str(artifact["data"])
    logs = await reader.logs(run["id"], 1)
    run = await reader.flow_run(run["name"])  # its late tags are written after its state
    assert {"fallback", "openrouter", "first/model"} <= set(run["tags"])
    assert any("did not answer: BillingRequired" in line["message"] for line in logs)


@pytest.fixture
def cooling(recorded, openrouter_process):
    """Another gateway, which records to the same Prefect server and has little patience with its backend."""
    settings = {
        "PREFECT_API_URL": httpx.get(f"{recorded.url}/health/detailed").json()["prefect"]["api_url"],
        "PROXY_BACKEND": "OPENAI_COMPATIBLE",
        "OPENAI_COMPATIBLE_BASE_URL": openrouter_process.base_url,
        "HEADGATE_COOLDOWN_AFTER": "2",
        "HEADGATE_COOLDOWN_SECONDS": "1",
    }
    with GatewayProcess(HEADGATE_RETRIES="1", **settings) as gateway:
        yield gateway


async def test_a_model_that_cools_down_and_comes_back_shows_its_state(cooling, openrouter, reader):
    openrouter.script({"status": 500, "message": "down", "times": 2}, {"text": "Back."})
    post(cooling, ASK)
    name = f"openai_compatible-{ASK['model']}"
    run = await reader.flow_run(f"{name}-open", "Failed")
    assert {"backends", "openai_compatible", "open"} <= set(run["tags"])
    artifact = await reader.artifact(run["id"])
    assert artifact["key"] == "backends"
    assert "closed; last error UpstreamFailed" in str(artifact["data"])
    assert f"openai_compatible, {ASK['model']}" in str(artifact["data"])
    await asyncio.sleep(1.1)
    assert post(cooling, ASK).status_code == 200
    run = await reader.flow_run(f"{name}-closed", "Completed")
    artifact = await reader.artifact(run["id"])
    assert f"openai_compatible, {ASK['model']}" not in str(artifact["data"])


async def test_bad_input_is_a_failed_run_too(recorded, openrouter, reader):
    answer = post(recorded, ASK | {"max_tokens": -1})
    run = await reader.flow_run(f"messages-{answer.headers['request-id']}", "Failed")
    assert "max_tokens" in run["state"]["message"]


async def test_neither_prompts_nor_keys_reach_the_disk(recorded, openrouter, reader):
    answer = post(recorded, ASK)
    await reader.flow_run(f"messages-{answer.headers['request-id']}", "Completed")
    files = [path for path in Path(recorded.folder.name).rglob("*") if path.is_file()]
    assert any(path.name == "prefect.db" for path in files)
    for path in files:
        held = path.read_bytes()
        assert PROMPT.encode() not in held, path
        assert OUR_KEY.encode() not in held, path
