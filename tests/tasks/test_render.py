"""Whole answers that are none: an error that another backend may do better than, never a crash."""

from __future__ import annotations

import orjson
import pytest

from tasks.backend import Outgoing, Reply
from tasks.render import render_completion, render_message
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


def test_an_answer_is_rendered():
    told = orjson.loads(rendered(render_completion, "messages", MESSAGE).body)
    assert told["choices"][0]["message"]["content"] == "Hi."
    assert orjson.loads(rendered(render_message, "messages", MESSAGE).body)["model"] == "big"
