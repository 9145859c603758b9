"""Counting at a backend that was left alone: a count that is answered says that it is there again."""

from __future__ import annotations

from types import SimpleNamespace

import orjson
import pytest

from coordinators.lanes import BackendLanes, Cooling
from express import MemorySink, Run
from flows.count_tokens import count_tokens
from tasks.backend import NO_MODEL, Reply, Route, Target
from tasks.count import Count, count_input_tokens
from tasks.exchange import Exchange
from wire.dialects import ANTHROPIC
from wire.signature import pack_details

BODY = {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": "Hello"}]}
TARGET = Target("claude-opus-4-6", "claude-opus-4-6", "messages", "KEY", "stub", ANTHROPIC, counts=True)


class Counting:
    """A backend that counts."""

    name = "stub"
    base_url = "http://stub"

    def __init__(self, status):
        self.status = status
        self.sent = {}

    async def count_tokens(self, outgoing):
        self.sent = orjson.loads(outgoing.payload)
        return Reply(self.status, {}, b'{"input_tokens": 77}')


class Ours:
    """A counter that is always right."""

    async def count(self, body, model):
        return 5


@pytest.mark.parametrize(("status", "tokens", "state"), [(200, 77, "closed"), (500, 5, "open")])
async def test_a_count_that_tries_a_backend_tells_how_it_went(status, tokens, state):
    lanes = BackendLanes([(Counting(status), 1)], cooling=Cooling(after=1, seconds=60))
    lane = lanes.pick(NO_MODEL)
    lane.breaker.fail("UpstreamFailed", seconds=0)
    assert lanes.state()["state"] == "half_open"
    route = Route(TARGET, lanes)
    count = count_input_tokens.fn(BODY, route, Ours(), Exchange("r", {}, b"{}", BODY))
    assert await count == Count(tokens)
    assert lanes.state()["state"] == state


async def test_counts_that_fail_shut_nobody_out():
    lanes = BackendLanes([(Counting(500), 1)], cooling=Cooling(after=1, seconds=60))
    for _ in range(3):
        count = count_input_tokens.fn(BODY, Route(TARGET, lanes), Ours(), Exchange("r", {}, b"{}", BODY))
        assert await count == Count(5)
    assert lanes.state()["state"] == "closed"


async def test_a_conversation_is_counted_without_our_signatures():
    thought = {"type": "thinking", "thinking": "Hm.", "signature": pack_details([], "openai/gpt-5")}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello."}]}
    body = BODY | {"messages": [*BODY["messages"], said, {"role": "user", "content": "And now?"}]}
    backend = Counting(200)
    route = Route(TARGET, BackendLanes([(backend, 1)], cooling=Cooling(after=1, seconds=60)))
    assert await count_input_tokens.fn(body, route, Ours(), Exchange("r", {}, b"{}", body)) == Count(77)
    assert backend.sent["messages"][1]["content"] == [{"type": "text", "text": "Hello."}]


async def test_a_small_count_is_linked_to_what_counted_it():
    routing = SimpleNamespace(routes=lambda _: [Route(TARGET, BackendLanes([(Counting(500), 1)]))])
    run = Run("count_tokens", name="c", sink=MemorySink())
    await run.call(count_tokens, Exchange("r", {}, orjson.dumps(BODY), BODY), routing, Ours())
    assert {step.name: step.inputs for step in run.steps}["render_count-0"] == ("count_input_tokens-0",)
