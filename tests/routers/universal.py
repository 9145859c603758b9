"""What the tests of the universal stream share: the providers as they are asked, and how answers are read."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from tests.fakes.gateway import GatewayProcess

PNG = base64.b64encode(bytes.fromhex("89504e470d0a1a0a")).decode()
LOOK = {
    "name": "look",
    "description": "Look somewhere",
    "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
}
THINKING = {"type": "enabled", "budget_tokens": 1024}


@dataclass(frozen=True)
class Case:
    """A provider as the table asks it: whether its wire shows reasoning, and whether it signs it."""

    path: str
    model: str
    thinker: str
    shows: bool = True
    signs: bool = False


CASES = {
    "anthropic": Case("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5", signs=True),
    "openai": Case("openai", "gpt-4o", "gpt-5", shows=False),
    "google": Case("gemini", "gemini-2.5-flash", "gemini-2.5-pro"),
    "cohere": Case("cohere", "command-a-03-2025", "command-a-reasoning-08-2025"),
    "mistral": Case("mistral", "mistral-large-latest", "magistral-medium-latest"),
    "azure": Case("azure", "azure/gpt-4o", "azure/gpt-5", shows=False),
    "bedrock": Case("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                    "us.anthropic.claude-sonnet-4-5-20250929-v1:0", signs=True),
}  # fmt: skip


def body_for(model: str, content: Any = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": content}], **more}


def ask(gateway: GatewayProcess, body: dict[str, Any], path: str = "/v1/universal/stream", **headers: str):
    return httpx.post(gateway.url + path, json=body, headers=headers, timeout=60)


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def said(chunks: list[dict[str, Any]], kind: str, field: str) -> list[str]:
    """Join what the chunks of a kind say, part by part."""
    parts: dict[int, str] = {}
    for chunk in chunks:
        if chunk["kind"] == kind and field in chunk["delta"]:
            parts[chunk["index"]] = parts.get(chunk["index"], "") + chunk["delta"][field]
    return list(parts.values())
