"""Builders for tests of Gemini's format, and the google-genai SDK as the oracle."""

from __future__ import annotations

import json
from typing import Any

import httpx
from google import genai
from google.genai import types

ANSWER = {"candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}]}


def checked_request(gemini: dict[str, Any]) -> None:
    """Assert that Google's own types take a request as it is, and know every field of it."""
    for content in gemini["contents"]:
        types.Content.model_validate(content)
    if "systemInstruction" in gemini:
        types.Content.model_validate(gemini["systemInstruction"])
    for tool in gemini.get("tools", ()):
        types.Tool.model_validate(tool)
    types.ToolConfig.model_validate(gemini.get("toolConfig", {}))
    types.GenerationConfig.model_validate(gemini.get("generationConfig", {}))
    for setting in gemini.get("safetySettings", ()):
        types.SafetySetting.model_validate(setting)


def checked_response(response: dict[str, Any]) -> types.GenerateContentResponse:
    return types.GenerateContentResponse.model_validate(response)


def sent_by_sdk(model: str, contents: Any, **config: Any) -> dict[str, Any]:
    """Give the request that the SDK writes."""
    seen: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        return httpx.Response(200, json=ANSWER)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        sdk = genai.Client(api_key="none", http_options=types.HttpOptions(httpx_client=client))
        sdk.models.generate_content(
            model=model, contents=contents, config=types.GenerateContentConfig(**config)
        )
    return seen[0]


def response(*parts: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "resp-1", "modelVersion": "gemini-3-pro", **fields}


def call_part(name: str = "read", identity: str | None = "call_1", **args: Any) -> dict[str, Any]:
    named = {"id": identity} if identity else {}
    return {"functionCall": {**named, "name": name, "args": args}}
