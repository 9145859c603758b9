"""The demo backend: its real process, spoken to on both wires."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import anthropic
import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinators.demo_reply import example, pieces, question, reply_to

if TYPE_CHECKING:
    from collections.abc import Iterator

SRC = Path(__file__).parents[2] / "src"
TOOL = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "mode": {"enum": ["r", "w"]}, "more": {"type": "array"}},
    "required": ["path", "mode"],
}


def start(*more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "coordinators.demo", *more],
        cwd=SRC,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    process = start("--parent-pipe")
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_sigterm_ends_it_too() -> None:
    process = start()
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0


def body(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "anthropic/claude-sonnet-4",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


async def chat(demo: str, sent: dict[str, Any]) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{demo}/chat/completions", json=sent) as answer,
    ):
        return answer.status, await answer.text()


def chat_message(raw: str) -> dict[str, Any]:
    return json.loads(raw)["choices"][0]["message"]


def chunks(raw: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


async def native(demo: str, stream: bool, **sent: Any) -> anthropic.types.Message:
    url = demo.removesuffix("/v1")
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        if not stream:
            return await client.messages.create(**sent)
        async with client.messages.stream(**sent) as events:
            return await events.get_final_message()


@pytest.mark.parametrize("stream", [True, False])
async def test_messages_wire_as_the_sdk_reads_it(demo: str, stream: bool) -> None:
    tools = [{"name": "open_file", "input_schema": TOOL}]
    asked = body("please do the demo tool thing", thinking={"type": "enabled", "budget_tokens": 1024})
    message = await native(demo, stream, **asked, tools=tools)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[2].input == {"path": "demo", "mode": "r"}
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens > 0

    turn = [
        *asked["messages"],
        {"role": "assistant", "content": [block.model_dump() for block in message.content]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": message.content[2].id, "content": "seven"}],
        },
    ]
    ended = await native(demo, stream, **body("", tools=tools) | {"messages": turn})
    assert "demo backend" in ended.content[0].text
    assert "“seven”" in ended.content[0].text
    assert ended.stop_reason == "end_turn"


async def test_chat_stream_and_whole_say_the_same(demo: str) -> None:
    sent = body("hello", reasoning={"effort": "low"})
    _, whole = await chat(demo, sent)
    _, raw = await chat(demo, {**sent, "stream": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(raw)]
    message = chat_message(whole)
    assert "“hello”" in message["content"]
    assert "".join(delta.get("content") or "" for delta in deltas) == message["content"]
    assert "".join(delta.get("reasoning") or "" for delta in deltas) == message["reasoning"]
    assert len(deltas) > 10
    assert chunks(raw)[-1]["usage"]["completion_tokens"] == json.loads(whole)["usage"]["completion_tokens"]
    assert raw.endswith("data: [DONE]\n\n")


async def test_chat_tool_loop(demo: str) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": TOOL}} for name in ("first", "second")
    ]
    _, raw = await chat(demo, body("demo tool second", tools=tools))
    call = chat_message(raw)["tool_calls"][0]
    assert call["function"]["name"] == "second"
    assert json.loads(call["function"]["arguments"]) == {"path": "demo", "mode": "r"}
    turn = [
        *body("demo tool")["messages"],
        chat_message(raw),
        {"role": "tool", "tool_call_id": call["id"], "content": "9"},
    ]
    _, raw = await chat(demo, body("", tools=tools) | {"messages": turn})
    assert "“9”" in chat_message(raw)["content"]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "any"}, "first"),
        ("required", "first"),
        ({"type": "tool", "name": "second"}, "second"),
        ({"type": "function", "function": {"name": "second"}}, "second"),
        ({"type": "tool", "name": "third"}, "first"),
        ({"type": "auto"}, None),
        ("auto", None),
        ({"type": "none"}, None),
        ("none", None),
    ],
)
def test_a_call_that_is_demanded_is_made(choice: Any, called: str | None) -> None:
    tools = [{"name": name, "input_schema": TOOL} for name in ("first", "second")]
    reply = reply_to(body("Hello", tools=tools, tool_choice=choice), 100)
    assert (reply.tool and reply.tool[0]) == called
    assert reply_to(body("Hello", tool_choice=choice), 100).tool is None  # none is offered
    spoken = reply_to(body("demo tool", tools=tools, tool_choice=choice), 100).tool is not None
    assert spoken == (choice not in ("none", {"type": "none"}))


async def test_the_answer_says_where_more_is_told(demo: str) -> None:
    _, raw = await chat(demo, body("hello"))
    assert "docs/04-operations.md" in chat_message(raw)["content"]
    assert "demo error 429" in (SRC.parent / "docs/04-operations.md").read_text()


@pytest.mark.parametrize("wire", ["chat/completions", "messages"])
async def test_errors_as_asked(demo: str, wire: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{demo}/{wire}", json=body("demo error 429")) as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "1"
        async with session.post(f"{demo}/{wire}", json=body("demo error midstream", stream=True)) as answer:
            raw = await answer.text()
            assert "in mid-stream, as asked" in raw
            assert "message_stop" not in raw
            assert "[DONE]" not in raw
        async with session.post(f"{demo}/{wire}", json=body("demo error midstream")) as answer:
            assert answer.status == 502
        async with session.post(f"{demo}/{wire}", data=b"[1") as answer:
            assert answer.status == 400


async def test_max_tokens_cuts(demo: str) -> None:
    message = await native(demo, True, **body("x") | {"max_tokens": 3})
    assert message.stop_reason == "max_tokens"
    assert len(message.content[0].text) == 12


async def test_a_schema_is_fulfilled(demo: str) -> None:
    wanted = {"type": "json_schema", "schema": TOOL}
    message = await native(demo, False, **body("title?", output_config={"format": wanted}))
    assert json.loads(message.content[0].text) == {"path": "demo", "mode": "r"}


async def test_other_routes(demo: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{demo}/models") as answer:
            assert (await answer.json())["data"][0]["id"] == "anthropic/claude-sonnet-4"
        async with session.get(f"{demo}/key") as answer:
            assert (await answer.json())["data"]["label"] == "demo"
        async with session.post(f"{demo}/messages/count_tokens", json={}) as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {
            "$defs": {"a": {"type": "integer", "minimum": 4}},
            "properties": {"x": {"$ref": "#/$defs/a"}},
            "required": ["x"],
        },
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"type": "array", "minItems": 2, "items": {"type": "boolean"}},
        {"type": ["string", "null"], "format": "uri"},
        {"type": "string", "minLength": 9},
        {"const": 5},
        {"type": "object", "properties": {"me": {"$ref": "#"}}},
    ],
)
def test_examples_fulfil_their_schema(schema: dict[str, Any]) -> None:
    assert jsonschema_rs.is_valid(schema, example(schema))


def test_an_endless_schema_ends() -> None:
    assert example({"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]})["me"]["me"]


@given(st.text())
def test_pieces_lose_nothing(text: str) -> None:
    assert "".join(pieces(text)) == text


def test_reminders_are_not_the_question() -> None:
    blocks = [
        {"type": "text", "text": "what?"},
        {"type": "text", "text": "<system-reminder>be good</system-reminder>"},
    ]
    assert question([{"role": "user", "content": blocks}, {"role": "system", "content": "x"}]) == (
        "what?",
        False,
    )
