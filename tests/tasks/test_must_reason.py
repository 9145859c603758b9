"""Which refusals say that a model must reason, and how many models are remembered."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tasks.backend import Outgoing
from tasks.must_reason import LEAST, MustReason, is_told_not_to, reworded
from wire.answer import AnswerContext
from wire.errors import InvalidRequest, RateLimited
from wire.names import ToolNames

SAYS_SO = [
    "Reasoning is mandatory for this endpoint and cannot be disabled.",
    "Provider returned error: Reasoning is mandatory for this endpoint (Minimax)",
    "thinking cannot be disabled for this model",
    "Budget 0 is invalid. This model only works in thinking mode.",
]
SAYS_ELSE = [
    "reasoning: unknown field",
    "tools are mandatory for reasoning models",
    "This model cannot think. Caching cannot be disabled.",
]


def outgoing(models: MustReason | None, **chat: Any) -> Outgoing:
    context = AnswerContext("msg_1", "asked", "minimax/m2", 1, ToolNames.of(()))
    payload = orjson.dumps({"model": "minimax/m2", "reasoning": {"enabled": False}, **chat})
    return Outgoing("chat", payload, {}, stream=False, context=context, must_reason=models)


@pytest.mark.parametrize("said", SAYS_SO)
def test_a_refusal_is_answered_with_the_least_and_remembered(said):
    models = MustReason()
    assert "minimax/m2" not in models
    again = reworded(outgoing(models, messages=["kept"]), InvalidRequest(said))
    assert again is not None
    assert orjson.loads(again.payload) == {"model": "minimax/m2", "reasoning": LEAST, "messages": ["kept"]}
    assert "minimax/m2" in models
    assert reworded(again, InvalidRequest(said)) is None


@pytest.mark.parametrize("said", SAYS_ELSE)
def test_another_refusal_stands(said):
    models = MustReason()
    assert reworded(outgoing(models), InvalidRequest(said)) is None
    assert "minimax/m2" not in models


def test_only_a_request_that_said_so_is_reworded():
    assert reworded(outgoing(None), InvalidRequest(SAYS_SO[0])) is None
    assert reworded(outgoing(MustReason()), RateLimited(SAYS_SO[0])) is None
    assert not is_told_not_to({"reasoning": {"enabled": True}})
    assert not is_told_not_to({})


def test_the_memory_is_bounded():
    models = MustReason()
    for number in range(1001):
        models.learn(f"m{number}")
    assert "m0" not in models
    assert "m1" in models
    assert "m1000" in models
    assert "openai/gpt-5-mini" in models
