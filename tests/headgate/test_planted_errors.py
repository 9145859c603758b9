"""A failure planted in every step of every pipeline is found by its hash: wherever one may look."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import pkgutil
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

import flows
import tasks
from coordinators.counter import Counter
from express import MemorySink, Step
from headgate.app import create_app
from headgate.instance import Instance
from headgate.recording import make_folder, scrubber_of
from headgate.settings import load_settings
from tests.fakes.gateway import OURS

ASK = {
    "model": "openai/gpt-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "A secret prompt"}],
}
CLAUDE = ASK | {"model": "anthropic/claude-sonnet-4", "messages": [{"role": "user", "content": "x" * 5000}]}
CHAT = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "A secret prompt"}]}


@dataclass
class Way:
    """A request that passes the step; `before` is sent first, while nothing is planted."""

    path: str = "/v1/messages"
    body: dict = field(default_factory=lambda: ASK)
    before: dict | None = None
    settings: dict = field(default_factory=dict)


CACHE = {"HEADGATE_CACHE": "on"}
WAYS = {
    "validate_request": Way(),
    "resolve_model": Way(body=ASK | {"stream": True}),
    "apply_profile": Way(body=CLAUDE, settings={"HEADGATE_THINKING": "on"}),
    "add_breakpoints": Way(body=CLAUDE, settings={"HEADGATE_PROMPT_CACHE": "auto"}),
    "inject_openrouter_parameters": Way(body=ASK | {"min_p": 0.1}),
    "inject_openai_parameters": Way(body=ASK | {"seed": 1}),
    "convert_request": Way(body=ASK | {"stream": True}),
    "call_backend": Way(),
    "open_stream": Way(body=ASK | {"stream": True}),
    "render_message": Way(),
    "validate_chat_request": Way("/v1/chat/completions", CHAT),
    "convert_chat_request": Way("/v1/chat/completions", CHAT),
    "render_completion": Way("/v1/chat/completions", CHAT),
    "validate_count_request": Way("/v1/messages/count_tokens"),
    "count_input_tokens": Way("/v1/messages/count_tokens"),
    "render_count": Way("/v1/messages/count_tokens"),
    "read_universal_request": Way("/v1/universal/stream"),
    "find_providers": Way("/v1/universal/stream"),
    "look_up_cache": Way(settings=CACHE),
    "store_message": Way(settings=CACHE),
    "store_stream": Way(body=ASK | {"stream": True}, settings=CACHE),
    "replay_message": Way(before=ASK, settings=CACHE),
    "replay_stream": Way(body=ASK | {"stream": True}, before=ASK | {"stream": True}, settings=CACHE),
    "warm_request": Way("/v1/cache/warm", {"requests": [ASK]}, settings=CACHE),
}
# Not of requests: the maintenance process runs them (tests/headgate/test_maintenance.py).
BY_THE_CLOCK = {
    "open_store", "delete_expired", "what_is_left", "delete_old_folders", "delete_old_captures",
    "fold_sessions",
}  # fmt: skip
# Nor are these. The first two are planted in by test_planted_in_batches.py.
OF_BATCHES = {
    "open_chunks", "close_batch", "find_batch", "read_file", "submit", "wait_for", "write_results",
}  # fmt: skip


async def counted(*_):
    return 12


def all_steps():
    found = {}
    for package in (tasks, flows):
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            for value in vars(module).values():
                if isinstance(value, Step):
                    found[value.name] = value
    return found


class Planted(Exception):
    """A failure that nobody expects."""


def plant(step, monkeypatch):
    """Have a step fail in its own first line, as if its author had made a mistake."""
    code = step.fn.__code__
    keyword = "async def" if step.isasync else "def"
    source = "\n" * (code.co_firstlineno - 1) + f"{keyword} {step.name}(*_, **__): raise Planted(_)"
    names = {"Planted": Planted}
    exec(compile(source, code.co_filename, "exec"), names)
    monkeypatch.setattr(step, "fn", names[step.name])


@asynccontextmanager
async def serving(openrouter, folder, monkeypatch, **settings):
    """One web process's application in this process, its runs kept in memory."""
    for name in os.environ:
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    given = {
        "OPENROUTER_API_KEY": "sk-or-v1-ours-and-only-ours", "OPENROUTER_BASE_URL": openrouter.base_url,
        "OPENROUTER_WIRE": "chat", "HEADGATE_RETRIES": "0", "HEADGATE_LOG_DIR": str(folder / "logs"),
        "HEADGATE_DATA_DIR": str(folder / "data"), **settings,
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    configured = load_settings()
    instance = Instance(
        "0123abcd", str(folder), "OPENROUTER", "test", prefect_ui_url="http://127.0.0.1:4200", runs="express"
    )
    server = make_folder(configured, instance, scrubber_of(configured))
    sink = MemorySink()
    app = create_app(configured, instance, sink)
    try:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                yield client, sink, server, app
    finally:
        server.release()


def test_every_step_is_planted_in():
    assert set(all_steps()) - BY_THE_CLOCK - OF_BATCHES == set(WAYS)


@pytest.mark.parametrize("name", WAYS)
async def test_a_failure_in_any_step_is_found_by_its_hash(openrouter, tmp_path, monkeypatch, name):
    way, step = WAYS[name], all_steps()[name]
    openrouter.script({"text": "fine", "times": 0})
    async with serving(openrouter, tmp_path, monkeypatch, **way.settings) as (client, sink, server, app):
        if way.before is not None:
            await client.post(way.path, json=way.before)
            await app.state.gateway.cache.settled()
        plant(step, monkeypatch)
        if name == "render_count":
            monkeypatch.setattr(Counter, "_ask", counted)  # the counter's process is not of this test
        headers = {"x-claude-code-session-id": "session-1", "x-api-key": "a-key-of-the-client"}
        answer = await client.post(way.path, json=way.body, headers=headers)

        # the client
        assert answer.status_code == 500, answer.text
        told = answer.json()["error"]["message"]
        found = re.search(r" \[error ([0-9a-f]{12})\]$", told)
        assert found, told
        known = found[1]

        # the recorded run
        run = next(run for run in sink.ended if f"error:{known}" in run.tags)
        assert run.state == "failed"
        assert run.summary["error_hash"] == known
        assert known in run.summary["look_up"]

        # the endpoints
        app.state.errors.file.flush()
        one = (await client.get(f"/debug/errors/hash/{known}")).json()
        assert one["count"] >= 1
        assert one["function"] == name
        searched = (await client.get("/debug/errors/search", params={"function": name})).json()
        assert [record["hash"] for record in searched["data"]] == [known]
        stats = (await client.get("/debug/errors/enhanced/stats")).json()
        assert stats["most"][0]["hash"] == known

    # the log folder
    text = server.errors.read_text()
    record = next(one for one in map(json.loads, text.splitlines()) if one["hash"] == known)
    assert record["run"] == {
        "name": run.name,
        "link": f"http://127.0.0.1:4200/runs?flow-run-search={run.name}",
    }
    assert record["request"]["id"] == answer.headers["request-id"]
    assert record["request"]["session"] == "session-1"
    assert record["stack"][-1]["function"] == name
    assert record["time"].endswith("+00:00")
    lines = [json.loads(line) for line in server.requests.read_text().splitlines()]
    assert any(line.get("error_hash") == known and line["status"] == 500 for line in lines)

    # and nothing that the request held
    for path in server.path.iterdir():
        written = path.read_text()
        assert "secret prompt" not in written
        assert "a-key-of-the-client" not in written
        assert "ours-and-only-ours" not in written


async def test_the_client_is_told_before_the_failure_is_recorded(openrouter, tmp_path, monkeypatch):
    openrouter.script({"status": 400, "message": "these words are not the prompt's " * 20, "times": 0})
    told = []
    async with serving(openrouter, tmp_path, monkeypatch) as (_, sink, _, app):
        usual = app.state.errors.note
        monkeypatch.setattr(
            app.state.errors, "note", lambda *a, **k: (told.append("noted"), usual(*a, **k))[1]
        )
        body = json.dumps(ASK | {"messages": [{"role": "user", "content": "word " * 20_000}]}).encode()
        scope = {
            "type": "http", "method": "POST", "path": "/v1/messages", "headers": [], "query_string": b"",
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1",
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            told.append(message.get("status") or len(message["body"]))

        await app(scope, receive, send)
        assert told[0] == 400
        assert "noted" not in told
        while not sink.ended:
            await asyncio.sleep(0)
    assert told[2:] == ["noted"]
