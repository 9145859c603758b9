"""Captured requests run again under Prefect's own engine, against a real Prefect server."""

from __future__ import annotations

import orjson
import pytest

from coordinators.capture_seal import seal_of
from coordinators.captures import CaptureFolder, Content, NotReplayable
from coordinators.http_upstream import HttpUpstream, Timeouts
from coordinators.lanes import BackendLanes
from coordinators.litellm_calls import LiteLLM
from coordinators.openrouter import OpenRouter
from coordinators.prices import Prices
from coordinators.replayed_run import recorded
from coordinators.replaying import Replayer
from coordinators.routing import RoutingTable
from coordinators.universal import Universal
from flows.attempts import Patience
from flows.prepare import House
from tasks.apply_profile import DEFAULT_PROFILES, Profiles
from wire.parameters import Presets

# Prefect asks the server for its version through a client that it never closes
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.timeout(300),
]

SECRET = "CANARY words"
ASK = {"model": "openai/gpt-5", "max_tokens": 50, "messages": [{"role": "user", "content": SECRET}]}


class Counts:
    """Counts nothing."""

    async def count(self, body, model):
        return len(body["messages"])


@pytest.fixture
async def parts(openrouter, providers):
    http = HttpUpstream(Timeouts())
    lanes = [
        BackendLanes([(OpenRouter(http, base_url=openrouter.base_url, api_key="k", name=name), 1)])
        for name in ("openrouter", "other")
    ]
    yield Replayer(
        backends=RoutingTable(lanes, aliases={"big": "openai/gpt-5"}, prefixes=["databricks"]),
        universal=Universal(LiteLLM(http), http, providers.settings),
        counter=Counts(),
        prices=Prices(),
        patience=Patience(retries=0),
        house=House(Presets({}, {}), Profiles(DEFAULT_PROFILES)),
    )
    await http.close()


def capture(tmp_path, flow, body, *, keys=(b"k" * 32,), headers=None, **facts):
    """Keep a request, and read it back."""
    folder, seal = CaptureFolder(tmp_path / "captures", most=10**6, hours=1), seal_of(keys)
    told = {"id": "req_first", "flow": flow, "format": "anthropic", **facts}
    raw = body if isinstance(body, bytes | None) else orjson.dumps(body)
    folder.write(told, Content(headers or {}, raw), seal)
    found = folder.find("req_first")
    return found, folder.open(found, seal)


FLOWS = {
    "messages": (ASK, "Again."),
    "streaming": (ASK | {"stream": True}, "Again."),
    "chat_completions": (ASK, "Again."),
    "chat_streaming": (ASK | {"stream": True}, "Again."),
    "count_tokens": (ASK, '{"input_tokens":1}'),
    "universal": (ASK | {"model": "gpt-4o", "stream": True}, "Again."),
}


@pytest.mark.parametrize("flow", FLOWS)
async def test_every_flow_is_run_again(parts, openrouter, providers, native, tmp_path, flow):
    body, answer = FLOWS[flow]
    openrouter.script({"text": "Again."})
    providers.script({"text": "Again."})
    captured, content = capture(tmp_path, flow, body)
    exchange = parts.aim(captured, content, None, None)
    assert exchange.raw == content.body
    again = await parts.run(captured, exchange)
    assert (again.status, again.error) == (200, None)
    assert answer.encode() in (again.answer or b"")
    assert again.ms > 0
    assert (again.ttft_ms is not None) == ("stream" in body)
    flow_run, steps = await recorded(again.run)
    known = await native.flow_run(again.run)
    assert str(flow_run) == known["id"]
    assert {"replay", "replay-of:req_first", body["model"]} <= set(known["tags"])
    tasks = await native.task_runs(known["id"], len(steps))
    assert sorted(name for name, _ in steps) == sorted(tasks)
    assert steps[0][0].startswith(("validate", "read"))
    assert len(steps) >= 3
    assert "CANARY" not in str((known, tasks))


async def test_it_goes_where_it_is_sent(parts, openrouter, native, tmp_path):
    openrouter.script({"text": "Again.", "times": 0})
    captured, content = capture(tmp_path, "messages", ASK | {"model": "openrouter:big"})
    for backend, model, asked in (
        ("other", None, "other:big"),
        ("other", "openai/gpt-5-mini", "other:openai/gpt-5-mini"),
        (None, "other:big", "other:big"),
        (None, "openai/gpt-5-mini", "openai/gpt-5-mini"),
    ):
        exchange = parts.aim(captured, content, backend, model)
        assert exchange.model == orjson.loads(exchange.raw)["model"] == asked
    exchange = parts.aim(captured, content, "other", "openai/gpt-5-mini")
    again = await parts.run(captured, exchange)
    assert (again.backend, again.model) == ("other", "openai/gpt-5-mini")


def test_wrong_names_list_what_exists(parts, tmp_path):
    captured, content = capture(tmp_path, "messages", ASK)
    with pytest.raises(
        NotReplayable, match="--backend: 'nobody' is no backend here; those are openrouter, other"
    ):
        parts.aim(captured, content, "nobody", None)
    with pytest.raises(NotReplayable, match=r"--model: model: .*has no key or address"):
        parts.aim(captured, content, None, "databricks:claude-x")
    captured, content = capture(tmp_path, "universal", ASK)
    with pytest.raises(
        NotReplayable, match=r"'openrouter' is no provider that is configured here; those are .*openai"
    ):
        parts.aim(captured, content, "openrouter", None)


def test_the_universal_stream_takes_a_provider(parts, tmp_path):
    headers = {"x-headgate-provider": "openai", "anthropic-version": "2023-06-01"}
    captured, content = capture(tmp_path, "universal", ASK, headers=headers)
    exchange = parts.aim(captured, content, "mistral", "mistral-large-latest")
    assert exchange.body == ASK | {"provider": "mistral", "model": "mistral-large-latest"}
    assert exchange.headers == {"anthropic-version": "2023-06-01"}
    assert parts.aim(captured, content, None, "gpt-4o").headers == headers


async def test_errors_are_part_of_the_answer(parts, openrouter, native, tmp_path):
    captured, content = capture(tmp_path, "messages", b"{no json")
    with pytest.raises(NotReplayable, match="cannot be changed"):
        parts.aim(captured, content, None, "big")
    again = await parts.run(captured, parts.aim(captured, content, None, None))
    assert (again.status, again.backend, again.answer) == (400, None, None)
    openrouter.script(
        {"status": 503, "message": "busy"}, {"text": "One two three", "fault": "truncate", "after": 2}
    )
    captured, content = capture(tmp_path, "messages", ASK)
    again = await parts.run(captured, parts.aim(captured, content, None, None))
    assert (again.status, again.error, again.backend) == (529, "busy", "openrouter")
    captured, content = capture(tmp_path, "streaming", ASK | {"stream": True})
    again = await parts.run(captured, parts.aim(captured, content, None, None))
    assert again.status == 500
    assert again.error
    assert orjson.loads(again.answer)["content"][0]["text"]


async def test_a_mistake_of_ours_is_part_of_the_answer(parts, native, tmp_path, monkeypatch):
    async def broken(*_):
        raise LookupError("a mistake")

    monkeypatch.setattr(Counts, "count", broken)
    captured, content = capture(tmp_path, "count_tokens", ASK)
    again = await parts.run(captured, parts.aim(captured, content, None, None))
    assert (again.status, again.error) == (500, "LookupError: a mistake")


async def test_what_is_redacted_is_sent_with_filler(parts, openrouter, native, tmp_path):
    openrouter.script({"text": "Again."})
    headers = {"x-openrouter-title": "two words", "anthropic-version": "2023-06-01"}
    captured, content = capture(tmp_path, "messages", ASK, keys=(), headers=headers)
    exchange = parts.aim(captured, content, None, None)
    assert exchange.headers == {"anthropic-version": "2023-06-01"}
    again = await parts.run(captured, exchange)
    assert again.status == 200
    (sent,) = openrouter.requests("chat")
    assert len(sent["body"]["messages"][0]["content"]) == len(SECRET)
    assert "CANARY" not in str(sent)


@pytest.mark.parametrize(
    ("facts", "said"), [({"body_left_out": True}, "HEADGATE_CAPTURE_LARGEST"), ({}, "was no JSON")]
)
def test_what_was_left_out_cannot_be_run(parts, tmp_path, facts, said):
    captured, content = capture(tmp_path, "messages", None, **facts)
    with pytest.raises(NotReplayable, match=said):
        parts.aim(captured, content, None, None)


async def test_a_run_that_prefect_does_not_know_has_no_steps(native):
    assert await recorded("no such run", within=0.5) == (None, [])
