"""The same requests through a gateway of each engine: same answers, and Prefect shows the same of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
import pytest_asyncio

from tests.express.conftest import PrefectReader
from tests.fakes.gateway import GatewayProcess

PROMPT = "A prompt that zebras of the upstream may see"
QUOTING = f"the words <{PROMPT}> are not allowed here"
ASK = {"model": "openai/gpt-5", "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}
STREAM = ASK | {"stream": True}
NATIVE = STREAM | {"model": "claude-sonnet-4"}
ENGINES = ("express", "prefect")


@pytest.fixture(scope="module")
def gateways(openrouter_process, prefect_server):
    """A gateway of each engine, both recorded by one Prefect server."""
    settings = {
        "OPENROUTER_API_KEY": "k", "OPENROUTER_BASE_URL": openrouter_process.base_url,
        "PREFECT_API_URL": prefect_server.url, "HEADGATE_RETRIES": "0",
        "HEADGATE_FALLBACKS": '{"first/model": "second/model"}',
    }  # fmt: skip
    express, prefect = (GatewayProcess(HEADGATE_RUNS=engine, **settings) for engine in ENGINES)
    with express, prefect:
        yield {"express": express, "prefect": prefect}


@pytest_asyncio.fixture
async def reader(prefect_server):
    async with aiohttp.ClientSession() as session:
        yield PrefectReader(session, prefect_server.url)


CASES = {
    "whole": ("messages", ASK, {"text": "Hello."}),
    "streamed": ("messages", STREAM, {"text": "Hello."}),
    "streamed on the other wire": ("messages", NATIVE, {"text": "Hello."}),
    "counted": ("messages/count_tokens", ASK, {}),
    "refused, and quoted": ("messages", ASK, {"status": 400, "message": QUOTING}),
    "refused by us": ("messages", ASK | {"max_tokens": -1}, {}),
    "a fallback": ("messages", ASK | {"model": "first/model"}, {"status": 402, "message": "no credit"}),
    "reset in the midst": ("messages", STREAM, {"text": "word " * 40, "fault": "reset", "after": 8}),
}


async def test_both_engines_answer_and_record_alike(gateways, openrouter, reader):
    answers, requests = {}, {}
    for engine in ENGINES:
        for name, (path, body, reply) in CASES.items():
            openrouter.script(reply, {"text": "From the second."})
            async with httpx.AsyncClient(timeout=120) as client:  # the first count waits for the tokenizer
                answer = await client.post(f"{gateways[engine].url}/v1/{path}", json=body)
            answers[engine, name] = answer.status_code, steady(answer.text)
            requests[engine, name] = answer.headers["request-id"]
    seen = await shown(reader, requests)
    for name in CASES:
        assert answers["prefect", name] == answers["express", name]
        assert seen["prefect", name] == seen["express", name]
    quoted = "prefect", "refused, and quoted"
    assert PROMPT in answers[quoted][1]
    assert "not allowed here" in seen[quoted]["message"]
    assert seen["prefect", "reset in the midst"]["steps"]["relay_stream-0"][0] == "Failed"


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_run_is_as_long_as_its_stream(gateways, openrouter, reader, engine):
    async with held(gateways[engine], openrouter) as answer:
        run = await run_of(reader, answer.headers["request-id"], "Running")
        await asyncio.sleep(1)  # or it might be about to end
        run = await reader.flow_run(run["name"])
        assert run["state_name"] == "Running"
        openrouter.release()
        await answer.aread()
    assert b"message_stop" in answer.content
    run = await reader.flow_run(run["name"], "Completed")
    relay = (await reader.task_runs(run["id"], 5))["relay_stream-0"]
    assert relay["total_run_time"] > 1
    assert run["total_run_time"] > 1


async def test_a_client_that_leaves_cancels_its_run(gateways, openrouter, reader):
    requests = {}
    for engine in ENGINES:
        async with held(gateways[engine], openrouter) as answer:
            requests[engine, "in the midst"] = answer.headers["request-id"]
        while not openrouter.requests("chat")[-1]["closed_early"]:
            await asyncio.sleep(0.05)
        known = requests[engine, "in the midst"]
        requests[engine, "before the first byte"] = await leave_at_once(gateways[engine], openrouter, known)
    seen = await shown(reader, requests)
    for when, step in (("in the midst", "relay_stream-0"), ("before the first byte", "open_stream-0")):
        assert seen["prefect", when] == seen["express", when]
        assert seen["prefect", when]["state"] == "Cancelled"
        assert seen["prefect", when]["steps"][step][0] == "Cancelled"
        assert "the client left before its answer was whole" in seen["prefect", when]["message"]


async def test_no_prompt_and_no_error_reaches_the_disk(gateways, openrouter, reader, prefect_server):
    gateway = gateways["prefect"]
    openrouter.script({"status": 400, "message": QUOTING})
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{gateway.url}/v1/messages", json=ASK)
    assert PROMPT in answer.json()["error"]["message"]
    await shown(reader, {"": answer.headers["request-id"]})
    folders = [Path(gateway.folder.name), prefect_server.home]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "prefect.db" for path in files)
    assert [path for path in files if PROMPT.encode() in path.read_bytes()] == []
    assert [path for path in files if path.parent.name == "storage"] == []


async def leave_at_once(gateway, openrouter, known):
    """Hang up before the upstream answers; give the request's id, which is not the `known` one."""
    openrouter.reset()
    openrouter.script({"fault": "stall_headers"})
    async with httpx.AsyncClient() as client:
        asked = asyncio.create_task(client.post(f"{gateway.url}/v1/messages", json=STREAM))
        while not openrouter.requests("chat"):
            await asyncio.sleep(0.05)
        asked.cancel()
        await asyncio.wait({asked})
    while not openrouter.requests("chat")[0]["closed_early"]:
        await asyncio.sleep(0.05)
    while True:
        files = Path(gateway.folder.name).rglob("requests.jsonl")  # there with its first line
        for line in (json.loads(line) for path in files for line in path.read_text().splitlines()):
            if line["status"] == 499 and line["request_id"] != known:
                return line["request_id"]
        await asyncio.sleep(0.05)


@asynccontextmanager
async def held(gateway, openrouter):
    """Ask for a stream that stops after its first pieces until it is released."""
    openrouter.script({"text": "word " * 40, "hold": 5})
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{gateway.url}/v1/messages", json=STREAM) as answer,
    ):
        yield answer


async def run_of(reader, request_id, *states):
    """Wait for a request's run, in one of these states."""
    while True:
        names = {"name": {"like_": request_id}}
        for run in await reader.filter("flow_runs", flow_runs=names):
            if run["state_name"] in states and run["state"]:
                return run
        await asyncio.sleep(0.05)


async def shown(reader, requests):
    """Give what Prefect shows of each request, once all ended: without times, ids and the requests' names."""
    runs = [
        await run_of(reader, request_id, "Completed", "Failed", "Cancelled", "Crashed")
        for request_id in requests.values()
    ]
    await asyncio.sleep(
        3
    )  # task runs, artifacts and late tags may come after the state, log lines by the second
    pairs = zip(requests.items(), runs, strict=True)
    return {key: await one_shown(reader, request_id, run["name"]) for (key, request_id), run in pairs}


async def one_shown(reader, request_id, name):
    run = await reader.flow_run(name)
    artifact = await reader.artifact(run["id"])
    rows = artifact["data"] if isinstance(artifact["data"], list) else json.loads(artifact["data"])
    steps = await reader.task_runs(run["id"], 0)
    message = run["state"]["message"]
    return {
        "name": name.replace(request_id, ""),
        "state": run["state_name"],
        "message": None if message.startswith("took ") else message,
        "tags": sorted(run["tags"]),
        "parameters": run["parameters"] | {"request_id": None},
        "steps": {
            name: (one["state_name"], one["feeds"], one["state"]["message"] or None)
            for name, one in steps.items()
        },
        "artifact": (artifact["key"], artifact["type"], [row["what"] for row in rows]),
    }


def steady(text):
    """Take ids out of an answer's text."""
    words = text.replace(":", " ").replace('"', " ").split()
    return " ".join(word for word in words if not word.startswith(("msg_", "req_", "gen-")))
