"""The anthropic SDK through a real gateway to the fake OpenRouter, on both wires."""

from __future__ import annotations

import base64

import anthropic
import pytest

ASK = {
    "model": "claude-opus-4-6",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hello"}],
}
TOOL = {
    "name": "get_weather",
    "description": "The weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
REPLIES = {
    "text": {"text": "Hello to you, and to all the others."},
    "reasoning": {"reasoning": "The user greets me.", "text": "Hello."},
    "tools": {
        "text": "Two at once.",
        "tools": [
            {"name": "get_weather", "input": {"city": "Bern"}, "id": "toolu_1"},
            {"name": "get_weather", "input": {"city": "Rome"}, "id": "toolu_2"},
        ],
        "interleave": True,
    },
    "max_tokens": {"text": "cut off", "stop": "max_tokens"},
}


def blocks(message):
    return [block.model_dump(exclude_none=True) for block in message.content]


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_and_a_whole_answer_are_equal(client, openrouter, name):
    openrouter.script(REPLIES[name] | {"times": 2, "usage": {"input": 77, "output": 5}})
    ask = ASK | {"tools": [TOOL]}
    whole = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    assert blocks(streamed) == blocks(whole)
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.model == whole.model == "claude-opus-4-6"
    assert streamed.usage.output_tokens == whole.usage.output_tokens == 5
    assert streamed.usage.input_tokens == whole.usage.input_tokens == 77


def test_usage_that_nobody_told_is_zero_and_an_image_is_no_200_000_tokens(chat_process, openrouter):
    openrouter.script({"text": "A cat.", "usage": None, "times": 2})
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(600_000)).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}}
    ask = ASK | {"messages": [{"role": "user", "content": [image]}]}
    with anthropic.Anthropic(base_url=chat_process.url, api_key="key", max_retries=0) as client:
        whole = client.messages.create(**ask)
        with client.messages.stream(**ask) as stream:
            started = next(iter(stream)).message.usage.input_tokens
            streamed = stream.get_final_message()
    assert 1_600 < started < 1_700
    assert whole.usage.input_tokens == streamed.usage.input_tokens == 0
    assert whole.usage.output_tokens == streamed.usage.output_tokens == 0


def test_text_and_parallel_tools_arrive_whole(client, openrouter):
    openrouter.script(REPLIES["tools"])
    message = client.messages.create(**ASK, tools=[TOOL])
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert [block.input for block in message.content[1:]] == [{"city": "Bern"}, {"city": "Rome"}]
    assert message.stop_reason == "tool_use"


def test_the_upstream_gets_its_own_name_and_our_key(client, openrouter, wire):
    client.messages.create(**ASK, extra_headers={"anthropic-beta": "one-2025-01-01"})
    (seen,) = openrouter.requests(wire)
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert seen["body"]["model"] == "anthropic/claude-opus-4.6"
    assert headers["authorization"] == "Bearer sk-or-v1-ours"
    assert "client-key" not in str(seen)
    assert ("anthropic-beta" in headers) == (wire == "messages")


def test_every_answer_names_its_request_and_backend(client, openrouter):
    raw = client.messages.with_raw_response.create(**ASK)
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["x-headgate-backend"] == "openrouter"
    assert raw.headers["content-type"] == "application/json"


def test_the_messages_wire_is_nearly_verbatim(messages_process, openrouter):
    import httpx

    body = ASK | {"context_management": {"edits": []}, "unknown_field": {"kept": [1, None]}, "stream": False}
    httpx.post(f"{messages_process.url}/v1/messages?beta=true", json=body).raise_for_status()
    (seen,) = openrouter.requests("messages")
    assert seen["body"] == body | {"model": "anthropic/claude-opus-4.6"}


def test_v1_twice_is_answered_alike(gateway, openrouter):
    import httpx

    answer = httpx.post(f"{gateway.url}/v1/v1/messages", json=ASK)
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == "Fine."


@pytest.mark.parametrize("stream", [False, True])
def test_a_failing_upstream_is_tried_again(client, openrouter, wire, stream):
    openrouter.script({"status": 503, "message": "busy", "times": 2}, {"text": "At last."})
    if stream:
        with client.messages.stream(**ASK) as answer:
            text = answer.get_final_text()
    else:
        text = client.messages.create(**ASK).content[0].text
    assert text == "At last."
    assert len(openrouter.requests(wire)) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_another_backends_thinking_does_not_go_to_anthropic(
    chat_process, messages_process, openrouter, stream
):
    openrouter.script({"when": {"model": "gpt-5"}, "reasoning": "Hm.", "tools": [{"name": "get_weather"}]})
    ask = ASK | {"tools": [TOOL], "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with anthropic.Anthropic(base_url=chat_process.url, api_key="k", max_retries=0) as client:
        first = client.messages.create(**ask | {"model": "openai/gpt-5"})
    thought, call = first.content
    assert thought.type == "thinking"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    turns = [{"role": "assistant", "content": blocks(first)}, {"role": "user", "content": [result]}]
    with anthropic.Anthropic(base_url=messages_process.url, api_key="k", max_retries=0) as client:
        asked = ask | {"model": "claude-opus-4-5", "messages": [*ask["messages"], *turns]}
        if stream:
            with client.messages.stream(**asked) as answer:
                assert answer.get_final_text() == "Fine."
        else:
            assert client.messages.create(**asked).content[0].text == "Fine."
    (seen,) = openrouter.requests("messages")
    assert [block["type"] for block in seen["body"]["messages"][1]["content"]] == ["tool_use"]
    assert seen["body"]["thinking"] == {"type": "disabled"}
