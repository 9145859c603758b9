"""The requests the load sends: small, as large as Claude Code's, or long; the same bytes on every machine."""

from __future__ import annotations

import json
import random
from typing import Any

Json = dict[str, Any]

CLIENT_KEY = "sk-bench"
LARGE_BYTES = 110_000
TOOLS = 18
TURNS = 40

# The model's name carries the wish to the fake upstream, because it is what every gateway passes on.
CHAT_MODEL = "openai/gpt-5"
MESSAGES_MODEL = "anthropic/claude-sonnet-4"
DRIP = "-drip"  # one SSE frame per write instead of the whole stream in one
IDLE = "-idle"  # the first frames, then silence

_WORDS = [
    "gate",
    "water",
    "level",
    "channel",
    "sluice",
    "weir",
    "flow",
    "field",
    "river",
    "bank",
    "valve",
    "meter",
    "lock",
    "pump",
    "basin",
    "canal",
    "intake",
    "ditch",
    "spill",
    "head",
    "tail",
    "race",
    "dam",
    "reach",
    "bed",
    "silt",
    "grade",
    "slope",
    "stage",
    "crest",
    "apron",
    "wall",
]


def _text(rng: random.Random, size: int) -> str:
    words: list[str] = []
    length = 0
    while length < size:
        word = rng.choice(_WORDS)
        words.append(word)
        length += len(word) + 1
    return " ".join(words)[:size]


def _property(rng: random.Random, depth: int) -> Json:
    kind = rng.choice(("string", "integer", "boolean", "array", "object") if depth < 2 else ("string",))
    match kind:
        case "array":
            return {"type": "array", "items": _property(rng, depth + 1), "description": _text(rng, 60)}
        case "object":
            return _schema(rng, depth + 1, 3)
        case "string":
            return {
                "type": "string",
                "description": _text(rng, 90),
                "enum": [_text(rng, 9) for _ in range(3)],
            }
        case plain:
            return {"type": plain, "description": _text(rng, 90)}


def _schema(rng: random.Random, depth: int, fields: int) -> Json:
    names = [f"{rng.choice(_WORDS)}_{index}" for index in range(fields)]
    return {
        "type": "object",
        "properties": {name: _property(rng, depth) for name in names},
        "required": names[:2],
        "additionalProperties": False,
    }


def _tool(rng: random.Random, index: int) -> Json:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema(rng, 0, 6)}
    return {"name": f"Tool{index}", "description": _text(rng, 700), "input_schema": schema}


def _turn(rng: random.Random, index: int, size: int) -> list[Json]:
    call_id = f"toolu_{index:024d}"
    call = {
        "type": "tool_use",
        "id": call_id,
        "name": f"Tool{index % TOOLS}",
        "input": {
            "path": f"/home/user/project/{rng.choice(_WORDS)}.py",
            "limit": index,
            "text": _text(rng, 120),
        },
    }
    result = {"type": "tool_result", "tool_use_id": call_id, "content": _text(rng, size)}
    return [
        {"role": "assistant", "content": [{"type": "text", "text": _text(rng, 80)}, call]},
        {"role": "user", "content": [result]},
    ]


def _large(model: str, *, stream: bool) -> Json:
    rng = random.Random(20261123)
    cached = {"cache_control": {"type": "ephemeral"}}
    system = [
        {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", **cached},
        {"type": "text", "text": _text(rng, 14_000), **cached},
    ]
    body: Json = {
        "model": model,
        "max_tokens": 32_000,
        "system": system,
        "tools": [_tool(rng, index) for index in range(TOOLS)],
        "metadata": {"user_id": "user_bench_account__session_0"},
        "stream": stream,
        "messages": [{"role": "user", "content": [{"type": "text", "text": _text(rng, 400)}]}],
    }
    room = LARGE_BYTES - len(encode(body)) - TURNS * 505
    for index in range(TURNS):
        body["messages"] += _turn(rng, index, room // TURNS)
    body["messages"][-1]["content"][-1] |= cached
    return body


def _small(model: str, *, stream: bool) -> Json:
    return {
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Say in one sentence what a headgate does."}],
        "stream": stream,
    }


def _long(model: str, *, stream: bool) -> Json:
    """As many bytes as the large one, all in one message."""
    text = _text(random.Random(20261124), LARGE_BYTES)
    return {**_small(model, stream=stream), "messages": [{"role": "user", "content": text}]}


def request_body(size: str, model: str, *, stream: bool) -> bytes:
    """Return the bytes of the Anthropic request of that size, asking that model."""
    make = {"small": _small, "large": _large, "long": _long}[size]
    return encode(make(model, stream=stream))


def encode(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
