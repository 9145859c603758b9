"""Whole answers that are none: an error that another backend may do better than, never a crash."""

from __future__ import annotations

import orjson
import pytest

from tasks.backend import Outgoing, Reply
from tasks.render import render_completion, render_message, usage_summary
from wire.answer import AnswerContext
from wire.errors import UpstreamFailed
from wire.names import ToolNames
from wire.openai_stream import OpenAIShape

CONTEXT = AnswerContext(
    message_id="msg_1", model="big", upstream_model="m", input_estimate=5, tool_names=ToolNames.of(())
)
SHAPE = OpenAIShape("big", 1)
MESSAGE = {
    "type": "message",
    "id": "msg_up",
    "content": [{"type": "text", "text": "Hi."}],
    "stop_reason": "end_turn",
}


def rendered(render, wire, answer, *, relayed=False):
    outgoing = Outgoing(wire, b"", {}, False, CONTEXT, shape=SHAPE, relayed=relayed)
    return render.fn(Reply(200, {}, orjson.dumps(answer)), outgoing)


@pytest.mark.parametrize(
    ("render", "wire", "answer", "relayed"),
    [
        (render_message, "messages", MESSAGE | {"usage": [1]}, False),
        (render_completion, "messages", MESSAGE | {"content": ["Hi."]}, False),
        (render_completion, "messages", MESSAGE | {"content": None}, False),
        (render_completion, "messages", MESSAGE | {"content": [{"type": "text"}]}, False),
        (render_completion, "messages", MESSAGE | {"content": [{"type": "tool_use", "id": "1"}]}, False),
        (render_completion, "chat", {"choices": [{"message": "Hi."}]}, True),
        (render_completion, "chat", {"choices": [{"message": {}}], "usage": "much"}, True),
    ],
)
def test_an_answer_of_another_form_is_an_upstreams_failure(render, wire, answer, relayed):
    with pytest.raises(UpstreamFailed) as raised:
        rendered(render, wire, answer, relayed=relayed)
    assert raised.value.retryable


@pytest.mark.parametrize("odd", ["12", [1], {"a": 1}, None])
def test_numbers_that_are_none_are_as_if_they_were_not_there(odd):
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    for usage in (dict.fromkeys(names, odd), {"output_tokens_details": odd}):
        assert set(usage_summary(usage, odd).values()) == {None}
    answer = MESSAGE | {"usage": {"output_tokens_details": 5, "output_tokens": odd, "cost": odd}}
    assert rendered(render_message, "messages", answer).summary["output_tokens"] is None


def test_numbers_of_an_answer_are_summed_up():
    usage = {"input_tokens": 5, "output_tokens": 7.0, "output_tokens_details": {"thinking_tokens": 2}}
    told = {name: value for name, value in usage_summary(usage, 0.5).items() if value is not None}
    assert told == {"input_tokens": 5, "output_tokens": 7, "reasoning_tokens": 2, "cost_usd": 0.5}


def test_an_answer_is_rendered():
    told = orjson.loads(rendered(render_completion, "messages", MESSAGE).body)
    assert told["choices"][0]["message"]["content"] == "Hi."
    assert orjson.loads(rendered(render_message, "messages", MESSAGE).body)["model"] == "big"
