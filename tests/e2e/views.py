"""What a recorded upstream request says, read alike from both wires."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fakes.rules import text_of

Json = dict[str, Any]


def objects(value: Any) -> Iterator[Json]:
    """Walk through every JSON object inside a value."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from objects(item)


def images(request: Json) -> list[str]:
    """List the base64 of every image in a request."""
    found = []
    for item in objects(request["body"]["messages"]):
        if item.get("type") == "image":
            found.append(item["source"]["data"])
        elif item.get("type") == "image_url":
            found.append(item["image_url"]["url"].split("base64,")[1])
    return found


def documents(request: Json) -> list[str]:
    """List the base64 of every PDF in a request."""
    found = []
    for item in objects(request["body"]["messages"]):
        if item.get("type") == "document":
            found.append(item["source"]["data"])
        elif item.get("type") == "file":
            found.append(item["file"]["file_data"].split("base64,")[1])
    return found


def tool_results(request: Json) -> dict[str, str]:
    """Give the text of every tool result, by the id of its call."""
    results = {}
    for message in request["body"]["messages"]:
        if message["role"] == "tool":
            results[message["tool_call_id"]] = text_of(message["content"])
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            if block["type"] == "tool_result":
                results[block["tool_use_id"]] = text_of(block.get("content"))
    return results


def tool_calls(request: Json) -> list[tuple[str, str, Json]]:
    """List id, name and input of every call in the request's history."""
    calls = []
    for message in request["body"]["messages"]:
        asked = [(call["id"], call["function"]) for call in message.get("tool_calls") or []]
        calls.extend((identity, call["name"], json.loads(call["arguments"])) for identity, call in asked)
        blocks = message["content"] if isinstance(message["content"], list) else []
        calls.extend((b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use")
    return calls


def reasoning(request: Json) -> list[tuple[str, str]]:
    """List text and upstream signature of every piece of reasoning in the request's history."""
    found = []
    for item in objects(request["body"]["messages"]):
        if item.get("type") == "thinking":
            found.append((item["thinking"], item["signature"]))
        elif item.get("type") == "reasoning.text":
            found.append((item["text"], item["signature"]))
    return found


def everything(request: Json) -> str:
    return json.dumps(request["body"], ensure_ascii=False)
