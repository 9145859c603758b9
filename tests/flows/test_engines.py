"""The same flows under express and under Prefect's own engine: same answers, same steps."""

from __future__ import annotations

from contextlib import aclosing

import orjson
import pytest

from coordinators.http_upstream import HttpUpstream, Timeouts
from coordinators.lanes import BackendLanes
from coordinators.litellm_calls import LiteLLM
from coordinators.openrouter import OpenRouter
from coordinators.routing import RoutingTable
from coordinators.universal import Universal
from express import MemorySink, Run, run_plainly
from flows.attempts import Patience
from flows.chat_completions import chat_completions, chat_streaming
from flows.messages import messages, streaming
from flows.prepare import House
from flows.universal import universal
from tasks.apply_profile import DEFAULT_PROFILES, Profiles
from tasks.exchange import Exchange, Streaming
from wire.errors import GatewayError
from wire.messages import new_id
from wire.parameters import Presets

# Prefect asks the server for its version through a client that it never closes
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

ASK = {"model": "openai/gpt-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Secret words"}]}
EAGER = Patience(retries=2, base=0.0, cap=0.0)
HOUSE = House(Presets({"top_a": 0.2}, {"seed": 1}), Profiles(DEFAULT_PROFILES))
CASES = {
    "whole": ({}, [{"text": "Hello."}], messages),
    "streamed": ({"stream": True}, [{"text": "Hello.", "reasoning": "Hm."}], streaming),
    "second try": ({}, [{"status": 503, "message": "busy"}, {"text": "Hello."}], messages),
    "refused": ({}, [{"status": 402, "message": "no credit"}], messages),
    "bad input": ({"max_tokens": "many"}, [], messages),
    "parameters": ({"min_p": 0.1, "temperature_range": [0, 1]}, [{"text": "Hello."}], messages),
    "no such parameter there": ({"model": "claude-opus-4-6", "logit_bias": {"1": 2}}, [], messages),
    "a profile": (
        {"model": "claude-sonnet-4", "max_tokens": 9000, "stream": True},
        [{"text": "Hi."}],
        streaming,
    ),
    "completion": ({}, [{"text": "Hello."}], chat_completions),
    "completion, streamed": ({"stream": True}, [{"text": "Hello."}], chat_streaming),
    "completion, bad input": ({"n": "many"}, [], chat_completions),
}


async def answer_of(call):
    """Give the answer, or the error, with what is random in it left out."""
    try:
        answer = await call
    except GatewayError as error:
        return type(error).__name__, error.message
    if isinstance(answer, Streaming):
        async with aclosing(answer.live.frames()) as frames:
            raw = b"".join([frame async for frame in frames])
        await answer.live.close()
        frames = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: {")]
        return [steady(orjson.loads(frame)) for frame in frames]
    return steady(orjson.loads(answer.body))


def steady(told):
    """Take out ids, and times of the upstream's."""
    steadied = {name: value for name, value in told.items() if name not in {"id", "created"}}
    return steadied | {"message": steady(told["message"])} if "message" in told else steadied


def exchange_for(change):
    body = ASK | change
    return Exchange(new_id("req"), {}, orjson.dumps(body), body=body)


@pytest.mark.parametrize("name", CASES)
async def test_both_engines_do_the_same(openrouter, native, name):
    change, replies, flow = CASES[name]
    http = HttpUpstream(Timeouts())
    backend = OpenRouter(http, base_url=openrouter.base_url, api_key="k")
    backends = RoutingTable([BackendLanes([(backend, 1)])])

    openrouter.script(*replies)
    run = Run(flow.name, name="express", sink=MemorySink())
    by_express = await answer_of(run.call(flow, exchange_for(change), backends, EAGER, HOUSE))
    openrouter.script(*replies)
    title = f"native-{new_id('run')}"
    by_prefect = await answer_of(run_plainly(flow, exchange_for(change), backends, EAGER, HOUSE, name=title))
    await http.close()

    assert by_express == by_prefect
    flow_run = await native.flow_run(title)
    tasks = await native.task_runs(flow_run["id"], len(run.steps))
    recorded = {name: (task["state_name"].lower(), task["feeds"]) for name, task in tasks.items()}
    assert recorded == {step.name: (step.state, set(step.inputs)) for step in run.steps}
    assert "Secret" not in str((flow_run, tasks))


async def test_both_engines_do_the_same_for_the_universal_stream(providers, native):
    http = HttpUpstream(Timeouts())
    universal_providers = Universal(LiteLLM(http), http, providers.settings)
    ask = ASK | {"model": "gpt-4o", "fallbacks": ["command-a-03-2025"]}

    def exchange():
        return Exchange(new_id("req"), {}, orjson.dumps(ask), body=dict(ask))

    async def chunks_of(call):
        answer = await call
        async with aclosing(answer.live.frames()) as frames:
            raw = b"".join([frame async for frame in frames])
        await answer.live.close()
        return [orjson.loads(line[6:]) | {"raw": None} for line in raw.split(b"\n") if line]

    replies = ({"status": 529, "message": "busy"}, {"status": 529, "message": "busy"}, {"text": "Hello."})
    brief = Patience(retries=0)
    providers.script(*replies)
    run = Run(universal.name, name="express", sink=MemorySink())
    by_express = await chunks_of(run.call(universal, exchange(), universal_providers, None, brief))
    providers.script(*replies)
    title = f"native-{new_id('run')}"
    by_prefect = await chunks_of(
        run_plainly(universal, exchange(), universal_providers, None, brief, name=title)
    )
    await http.close()
    assert by_express == by_prefect
    assert by_express[0]["provider"] == "cohere"
    flow_run = await native.flow_run(title)
    tasks = await native.task_runs(flow_run["id"], len(run.steps))
    assert [step.name.split("-")[0] for step in run.steps] == [
        "read_universal_request", "find_providers",
        *["convert_request", "open_stream"] * 3,
    ]  # fmt: skip
    assert set(tasks) == {step.name for step in run.steps}
    assert "Secret" not in str((flow_run, tasks))
