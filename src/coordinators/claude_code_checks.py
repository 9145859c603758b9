"""What Claude Code needs of a model: small requests that show it, and how their answers are judged."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from wire.fold import Fold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from wire.messages import Event, Json

CHECK_TOOL = "get_weather"
MCP_TOOL = "mcp__headgate-check__read_note"
_NOTE = "The note says: heron."


class Missing(Exception):
    """The model answered, but not what Claude Code needs; the message says what is missing."""


class Asks(Protocol):
    """How the checks reach the model."""

    async def whole(self, body: Json) -> Json:
        """Give the Message that answers; raises GatewayError."""
        ...

    async def stream(self, body: Json) -> list[Event]:
        """Give the events of a streamed answer; raises GatewayError."""
        ...

    async def count(self, body: Json) -> int:
        """Give a request's input tokens; raises GatewayError."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One ability: its name, what it is for, and what tries it. `run` raises Missing or GatewayError."""

    name: str
    what: str
    run: Callable[[Asks], Awaitable[None]]


async def _streams(asks: Asks) -> None:
    events = await asks.stream(_ask("Reply with one short sentence about rivers."))
    kinds = [event["type"] for event in events]
    if "error" in kinds:
        raise Missing("the stream ended with an error event")
    wanted = ("message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop")
    if absent := [kind for kind in wanted if kind not in kinds]:
        raise Missing(f"the stream had no {', '.join(absent)}")
    if kinds[0] != "message_start" or kinds[-1] != "message_stop":
        raise Missing("the stream did not go from message_start to message_stop")
    fold = Fold()
    for event in events:
        fold.add(event)
    message = fold.message()
    if not _text(message):
        raise Missing("the stream had no text")
    if not message.get("stop_reason"):
        raise Missing("the stream did not say why it stopped")
    if not message["usage"].get("output_tokens"):
        raise Missing("the stream did not tell its output tokens")


async def _calls_tools(asks: Asks) -> None:
    _calls(await asks.whole(_ask(_ASK_TOOL, [_tool(CHECK_TOOL)])), CHECK_TOOL, 1)


async def _calls_in_parallel(asks: Asks) -> None:
    asked = f"{_ASK_TOOL} Do the same for Oslo: make both calls now, side by side, in this one answer."
    calls = _calls(await asks.whole(_ask(asked, [_tool(CHECK_TOOL)])), CHECK_TOOL, 2)
    if len({call["id"] for call in calls}) != len(calls):
        raise Missing("parallel calls had the same id")


async def _thinks(asks: Asks) -> None:
    body = _ask("What is 17 times 23? Think first.") | {"max_tokens": 2048}
    message = await asks.whole(body | {"thinking": {"type": "enabled", "budget_tokens": 1024}})
    kinds = {block["type"] for block in message["content"]}
    if not kinds & {"thinking", "redacted_thinking"}:
        raise Missing("the answer came without a thinking block, though thinking was asked for")
    if "text" not in kinds:
        raise Missing("the answer had thinking, but no text")


async def _sees(asks: Asks) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(_png()).decode()}
    text = {"type": "text", "text": "Which colour fills this picture? One word."}
    message = await asks.whole(_ask([{"type": "image", "source": source}, text]))
    if not re.search(r"\b(red|crimson|scarlet)\b", _text(message), re.IGNORECASE):
        raise Missing("the picture was taken, but its colour was not told: it may not have been seen")


async def _counts(asks: Asks) -> None:
    if await asks.count(_ask("How many tokens is this?", [_tool(CHECK_TOOL)])) <= 0:
        raise Missing("count_tokens gave no number")


async def _serves_mcp(asks: Asks) -> None:
    """Have a tool of an MCP server called by its long name, and its result taken back."""
    body = _ask(f'Read the note "river": call the demo tool {MCP_TOOL}.', [_mcp_tool()])
    message = await asks.whole(body)
    (call, *_) = _calls(message, MCP_TOOL, 1)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": _NOTE}]}
    turns = [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": [result]}]
    answer = await asks.whole(body | {"messages": [*body["messages"], *turns]})
    if not answer["content"]:
        raise Missing("the tool's result got an empty answer")


# "demo tool" makes Headgate's own demo backend call it; a model reads it as any other words.
_ASK_TOOL = f"Find the weather in Lima: call the demo tool {CHECK_TOOL}."

CHECKS: Sequence[Check] = (
    Check("streaming", "answers arrive as they are written", _streams),
    Check("tools", "the model calls tools", _calls_tools),
    Check("parallel_tools", "the model calls several tools at once", _calls_in_parallel),
    Check("thinking", "the model thinks before it answers, and shows it", _thinks),
    Check("vision", "the model sees pictures", _sees),
    Check("count_tokens", "input tokens can be counted", _counts),
    Check("mcp", "tools of MCP servers (mcp__…) are called, and their results taken", _serves_mcp),
)


def _ask(content: Any, tools: Sequence[Json] = ()) -> Json:
    body: Json = {"max_tokens": 300, "messages": [{"role": "user", "content": content}]}
    return body | {"tools": list(tools)} if tools else body


def _tool(name: str) -> Json:
    place = {"type": "string", "description": "A city's name", "default": "Lima"}
    schema = {"type": "object", "properties": {"city": place}, "required": ["city"]}
    return {"name": name, "description": "Gives the weather in one city.", "input_schema": schema}


def _mcp_tool() -> Json:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1, "default": "river"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    return {"name": MCP_TOOL, "description": "Reads a note.", "input_schema": schema}


def _calls(message: Json, name: str, count: int) -> list[Json]:
    """Give the message's calls of the tool; raises Missing if they are too few, or not as they should be."""
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    if not calls:
        raise Missing("the model answered in words where it was told to call a tool")
    if wrong := [call for call in calls if call["name"] != name]:
        raise Missing(f"the model called {str(wrong[0]['name'])[:60]!r} instead of {name!r}")
    if any(not isinstance(call.get("input"), dict) or not call["input"] for call in calls):
        raise Missing("the tool was called without the input that its schema requires")
    if message.get("stop_reason") != "tool_use":
        raise Missing(f"an answer with a tool call stopped for {str(message.get('stop_reason'))[:40]!r}")
    if len(calls) < count:
        raise Missing(f"the model made {len(calls)} call where it was told to make {count} at once")
    return calls


def _text(message: Json) -> str:
    return " ".join(block["text"] for block in message["content"] if block["type"] == "text").strip()


def _png(size: int = 32) -> bytes:
    """Make a picture that is red all over."""
    rows = (b"\x00" + b"\xe0\x10\x10" * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
