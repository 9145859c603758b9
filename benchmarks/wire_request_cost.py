"""What the requests side of `wire` costs on a body like Claude Code's: 110 KB, 18 tools, 40 turns.

.venv/bin/python benchmarks/wire_request_cost.py
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from wire.chat_request import to_chat
from wire.check import check_request, encode_body, parse_body

if TYPE_CHECKING:
    from collections.abc import Callable


def tool(number: int) -> dict[str, Any]:
    fields = {
        f"field_{n}": {"type": "string", "description": "What this field is for, said at some length. " * 2}
        for n in range(8)
    }
    return {
        "name": f"Tool{number}",
        "description": "Does one thing, and this text tells the model at length when to use it. " * 15,
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": fields,
            "required": ["field_0"],
            "additionalProperties": False,
        },
    }


def large_body() -> dict[str, Any]:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "Begin. " * 100}]}
    ]
    for n in range(20):
        call = {
            "type": "tool_use",
            "id": f"toolu_{n}",
            "name": f"Tool{n % 18}",
            "input": {"field_0": "a" * 200},
        }
        result = {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": "line of a file\n" * 120}
        messages.append({"role": "assistant", "content": [{"type": "text", "text": "I look. " * 20}, call]})
        messages.append({"role": "user", "content": [result]})
    messages[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return {
        "model": "claude-sonnet-4-5",
        "max_tokens": 32000,
        "stream": True,
        "thinking": {"type": "adaptive"},
        "metadata": {"user_id": "u" * 120},
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1"},
            {
                "type": "text",
                "text": "You are a careful engineer. " * 500,
                "cache_control": {"type": "ephemeral"},
            },
        ],
        "tools": [tool(n) for n in range(18)],
        "messages": messages,
    }


def cost(name: str, work: Callable[[], Any]) -> None:
    times = []
    for _ in range(7):
        start = time.process_time()
        for _ in range(200):
            work()
        times.append((time.process_time() - start) / 200 * 1e6)
    print(f"{name:28} {statistics.median(times):8.1f} µs")


def main() -> None:
    raw = orjson.dumps(large_body())
    body = parse_body(raw)
    chat, _ = to_chat(body, model="openai/gpt-5")
    print(f"body: {len(raw):,} bytes, {len(body['messages'])} messages, {len(body['tools'])} tools")
    cost("parse_body", lambda: parse_body(raw))
    cost("check_request", lambda: check_request(body))
    cost("to_chat", lambda: to_chat(body, model="openai/gpt-5"))
    cost("encode_body", lambda: encode_body(chat))


if __name__ == "__main__":
    main()
