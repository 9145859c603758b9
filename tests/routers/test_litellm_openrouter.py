"""PROXY_BACKEND=LITELLM_OPENROUTER: the fake OpenRouter, reached through LiteLLM."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import anthropic
import httpx
import pytest

from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeOpenRouter

ASK = {"model": "openai/gpt-5", "max_tokens": 1024, "messages": [{"role": "user", "content": "Hello"}]}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}}}


@pytest.fixture(scope="module")
def litellm_process(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    with gateway_on(
        openrouter_process, PROXY_BACKEND="LITELLM_OPENROUTER", HEADGATE_COOLDOWN_AFTER="0"
    ) as gateway:
        httpx.post(f"{gateway.url}/v1/messages", json=ASK, timeout=60)  # LiteLLM is being imported
        yield gateway


@pytest.fixture
def client(litellm_process: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=litellm_process.url, api_key="k", max_retries=0) as client:
        yield client


def test_streamed_and_whole_are_the_same(client, openrouter):
    reply = {
        "reasoning": "Let me see.",
        "text": "One moment.",
        "tools": [{"name": "look", "input": {"where": "up"}, "id": "toolu_1"}],
        "usage": {"input": 100, "cached": 20, "output": 9, "cost": 0.5},
        "times": 0,
    }
    openrouter.script(reply)
    whole = client.messages.create(**ASK, tools=[TOOL])
    with client.messages.stream(**ASK, tools=[TOOL]) as stream:
        streamed = stream.get_final_message()
    told = [one.model_dump(exclude={"id"}) for one in (whole, streamed)]
    assert told[0]["content"] == told[1]["content"]
    assert [block["type"] for block in told[0]["content"]] == ["thinking", "text", "tool_use"]
    for message in (whole, streamed):
        assert message.stop_reason == "tool_use"
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (100, 20)


def test_openrouters_own_fields_reach_it(client, openrouter):
    openrouter.script({"text": "Hi."})
    more = {"min_p": 0.1, "provider": {"order": ["azure"]}, "models": ["openai/gpt-5-mini"], "top_k": 5}
    client.messages.create(**ASK, extra_body=more, thinking={"type": "enabled", "budget_tokens": 1024})
    [seen] = openrouter.requests("chat")
    assert seen["body"]["model"] == "openai/gpt-5"
    assert {name: seen["body"][name] for name in more} == more
    assert seen["body"]["reasoning"] == {"max_tokens": 1024}
    assert seen["headers"]["authorization"] == "Bearer sk-or-v1-ours"


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_goes_back_with_its_signature(client, openrouter, stream):
    openrouter.script({"reasoning": "Let me see.", "signature": "sig-1", "text": "Yes."}, {"text": "So."})
    if stream:
        with client.messages.stream(**ASK) as answer:
            first = answer.get_final_message()
    else:
        first = client.messages.create(**ASK)
    turns = [
        *ASK["messages"],
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "?"},
    ]
    client.messages.create(**{**ASK, "messages": turns})
    sent = openrouter.requests("chat")[-1]["body"]["messages"][1]
    assert [(one["text"], one["signature"]) for one in sent["reasoning_details"]] == [
        ("Let me see.", "sig-1")
    ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("upstream", "status", "calls"), [(400, 400, 1), (401, 403, 1), (429, 429, 3), (503, 529, 3)]
)
def test_errors_are_the_upstreams(litellm_process, openrouter, upstream, status, calls, stream):
    openrouter.script({"status": upstream, "message": "as told", "times": 0})
    answer = httpx.post(f"{litellm_process.url}/v1/messages", json=ASK | {"stream": stream})
    assert answer.status_code == status
    assert "as told" in answer.json()["error"]["message"]
    assert len(openrouter.requests("chat")) == calls  # ours; LiteLLM tries nothing again


@pytest.mark.parametrize("fault", ["reset", "error_frame", "truncate", "stall"])
def test_a_stream_that_breaks_ends_with_an_error(litellm_process, openrouter, fault):
    openrouter.script({"text": "one two three four five", "chunk": 4, "fault": fault, "after": 4})
    answer = httpx.post(f"{litellm_process.url}/v1/messages", json=ASK | {"stream": True})
    kinds = [json.loads(line[6:])["type"] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [kinds[0], kinds[-1]] == ["message_start", "error"]
    assert "message_stop" not in kinds


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_closes_the_upstream(litellm_process, openrouter, stream):
    openrouter.script({"text": "never", "fault": "stall_headers", "times": 0})
    raw = json.dumps(ASK | {"stream": stream}).encode()
    host, port = litellm_process.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw
        )
        openrouter.wait_for(1, "chat")
    openrouter.wait_closed("chat", seconds=1)
