"""The fake itself: real shapes on both wires, rules, faults, and what it remembers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import anthropic
import pytest

if TYPE_CHECKING:
    from tests.fakes.handle import FakeOpenRouter

CHAT = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "hi"}]}
NATIVE = {
    "model": "anthropic/claude-sonnet-4",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}


async def post(fake: FakeOpenRouter, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{fake.base_url}/{path}", json=body) as answer,
    ):
        return answer.status, await answer.read()


def chunks(raw: bytes) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in raw.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


RICH = {
    "reasoning": "Let me think of it at length.",
    "text": "The answer is 42.",
    "tools": [{"name": "add", "input": {"a": 1}}, {"name": "now", "input": {}}],
    "usage": {"cached": 80, "reasoning": 7},
}


async def test_chat_stream_has_openrouters_shape(openrouter: FakeOpenRouter) -> None:
    openrouter.script(RICH)
    status, raw = await post(openrouter, "chat/completions", {**CHAT, "stream": True})
    assert status == 200
    assert raw.startswith(b": OPENROUTER PROCESSING\n\n")
    assert raw.endswith(b"data: [DONE]\n\n")
    seen = chunks(raw)
    deltas = [chunk["choices"][0]["delta"] for chunk in seen]
    assert "".join(delta.get("content") or "" for delta in deltas) == RICH["text"]
    assert "".join(delta.get("reasoning") or "" for delta in deltas) == RICH["reasoning"]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [call["function"]["name"] for call in calls if "id" in call] == ["add", "now"]
    assert "".join(call["function"]["arguments"] for call in calls if call["index"] == 0) == '{"a": 1}'
    assert seen[-1]["usage"]["prompt_tokens"] == 200
    assert seen[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_sdk_reads_the_messages_wire(openrouter: FakeOpenRouter, stream: bool) -> None:
    openrouter.script(RICH)
    async with anthropic.AsyncAnthropic(
        base_url=openrouter.anthropic_url, api_key="k", max_retries=0
    ) as client:
        if stream:
            async with client.messages.stream(**NATIVE) as events:
                message = await events.get_final_message()
        else:
            message = await client.messages.create(**NATIVE)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[2].input == {"a": 1}
    assert message.stop_reason == "tool_use"
    assert message.usage.cache_read_input_tokens == 80


async def test_rules_match_and_are_used_up(openrouter: FakeOpenRouter) -> None:
    openrouter.script(
        {"when": {"user": "weather"}, "text": "rain"},
        {"when": {"model": "^openai/"}, "text": "gpt", "times": 2},
    )
    texts = []
    for content in ("hi", "weather?", "weather?", "hi"):
        body = {**CHAT, "messages": [{"role": "user", "content": content}]}
        _, raw = await post(openrouter, "chat/completions", body)
        texts.append(json.loads(raw)["choices"][0]["message"]["content"])
    assert texts == ["gpt", "rain", "gpt", "Fine."]
    assert [seen["answered_by"] for seen in openrouter.requests("chat")] == ["rule 1", "rule 0", "rule 1", ""]


@pytest.mark.parametrize("wire", ["chat/completions", "messages"])
async def test_fails_then_works(openrouter: FakeOpenRouter, wire: str) -> None:
    openrouter.script({"status": 429, "headers": {"retry-after": "1"}, "message": "slow down", "times": 2})
    body = {**NATIVE}
    answers = [await post(openrouter, wire, body) for _ in range(3)]
    assert [status for status, _ in answers] == [429, 429, 200]
    assert json.loads(answers[0][1])["error"]["message"] == "slow down"


@pytest.mark.parametrize("fault", ["reset_before_headers", "reset_after_headers", "reset"])
async def test_resets_are_seen_as_lost_connections(openrouter: FakeOpenRouter, fault: str) -> None:
    openrouter.script({"text": "a long answer indeed", "fault": fault, "after": 3})
    with pytest.raises(aiohttp.ClientError):
        await post(openrouter, "chat/completions", {**CHAT, "stream": True})


async def test_faults_that_end_cleanly(openrouter: FakeOpenRouter) -> None:
    faults = ["half_json", "error_frame", "truncate", "empty"]
    openrouter.script(*({"text": "some text for you", "fault": fault, "after": 2} for fault in faults))
    raws = [(await post(openrouter, "chat/completions", {**CHAT, "stream": True}))[1] for _ in faults]
    assert not raws[0].endswith(b"\n")
    assert chunks(raws[1])[-1]["error"] == {"code": 502, "message": "Provider returned error"}
    assert len(chunks(raws[2])) == 1
    assert raws[3] == b""


async def test_a_client_that_leaves_a_stall_is_recorded(openrouter: FakeOpenRouter) -> None:
    openrouter.script({"text": "never finished", "fault": "stall", "after": 2})
    with pytest.raises(TimeoutError):
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session,
            session.post(f"{openrouter.base_url}/chat/completions", json={**CHAT, "stream": True}) as answer,
        ):
            await answer.read()
    assert openrouter.wait_closed("chat")["finished"] is False


async def test_other_routes(openrouter: FakeOpenRouter) -> None:
    assert (await post(openrouter, "messages/count_tokens", NATIVE))[0] == 404
    openrouter.script({"when": {"path": "count_tokens"}, "body": {"input_tokens": 5}})
    assert await post(openrouter, "messages/count_tokens", NATIVE) == (200, b'{"input_tokens": 5}')
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{openrouter.base_url}/models") as models,
    ):
        assert "anthropic/claude-sonnet-4" in {model["id"] for model in (await models.json())["data"]}


CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([{"role": "tool", "tool_call_id": "t1", "content": "x"}], "directly before"),
        (
            [
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "user", "content": "x"},
            ],
            "no answer",
        ),
        ([{"role": "user", "content": [{"type": "image", "source": {}}]}], "unknown content part"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}]}], "non-empty"),
    ],
)
async def test_what_the_real_wire_refuses_is_refused(
    openrouter: FakeOpenRouter, messages: list[dict[str, Any]], complaint: str
) -> None:
    status, raw = await post(openrouter, "chat/completions", {**CHAT, "messages": messages})
    assert status == 400
    assert complaint in json.loads(raw)["error"]["message"]
