"""Results in OpenAI's form, read by OpenAI's own types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from wire.batch_openai import openai_result


def rendered(result: dict[str, Any]) -> dict[str, Any]:
    line = openai_result(json.dumps({"custom_id": "a", "result": result}).encode(), 1_700_000_000)
    assert line.endswith(b"}\n")
    told: dict[str, Any] = json.loads(line)
    assert told["custom_id"] == "a"
    assert told.keys() == {"id", "custom_id", "response", "error"}
    return told


def test_a_message_becomes_a_completion() -> None:
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4",
        "content": [
            {"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 4},
    }  # fmt: skip
    told = rendered({"type": "succeeded", "message": message})
    assert (told["error"], told["response"]["status_code"]) == (None, 200)
    completion = ChatCompletion.model_validate(told["response"]["body"])
    assert completion.choices[0].message.content == "Hi"
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 7


@pytest.mark.parametrize(
    ("kind", "status"), [("invalid_request_error", 400), ("overloaded_error", 503), ("new_error", 500)]
)
def test_an_error_keeps_its_words(kind: str, status: int) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "why"}, "request_id": "req_1"}
    response = rendered({"type": "errored", "error": error})["response"]
    assert (response["status_code"], response["request_id"]) == (status, "req_1")
    assert response["body"]["error"]["message"] == "why"


@pytest.mark.parametrize(("outcome", "code"), [("expired", "batch_expired"), ("canceled", "batch_cancelled")])
def test_what_was_never_answered(outcome: str, code: str) -> None:
    told = rendered({"type": outcome})
    assert (told["response"], told["error"]["code"]) == (None, code)
