"""Fakes of the other backends, one server for all three: Databricks, Anthropic, an OpenAI-compatible server.

    python -m tests.fakes.backends --port 0        prints {"port": N} and serves until its stdin closes

    Databricks         POST /serving-endpoints/anthropic/v1/messages, /serving-endpoints/<name>/invocations
                       GET  /api/2.0/serving-endpoints
    Anthropic          POST /v1/messages, /v1/messages/count_tokens; GET /v1/models
    OpenAI-compatible  POST /compatible/v1/chat/completions; GET /compatible/v1/models

Scripted as the fake OpenRouter is; `backend_laws` says what each refuses. A request's path is told as
`databricks messages`, `databricks chat`, `anthropic messages`, `anthropic count_tokens`, `compatible chat`, …
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.backend_laws import complaint_of, refused_key
from tests.fakes.databricks_replies import DatabricksRendering
from tests.fakes.messages_replies import MessagesRendering, error_object
from tests.fakes.openrouter import Fake, plain, play, serve
from tests.fakes.replies import ChatRendering, Json
from tests.fakes.rules import DEFAULT

if TYPE_CHECKING:
    from tests.fakes.rules import Seen

PATHS = {
    "/serving-endpoints/anthropic/v1/messages": "databricks messages",
    "/api/2.0/serving-endpoints": "databricks models",
    "/v1/messages": "anthropic messages",
    "/v1/messages/count_tokens": "anthropic count_tokens",
    "/v1/models": "anthropic models",
    "/compatible/v1/chat/completions": "compatible chat",
    "/compatible/v1/models": "compatible models",
}
INVOCATIONS = re.compile(r"/serving-endpoints/([^/]+)/invocations")
LISTS: dict[str, Json] = {
    "databricks models": {
        "endpoints": [
            {
                "name": "databricks-claude-sonnet-4",
                "task": "llm/v1/chat",
                "creation_timestamp": 1747930371000,
            },
            {"name": "databricks-gte-large-en", "task": "llm/v1/embeddings"},
            {"name": "databricks-gpt-oss-120b", "task": "llm/v1/chat"},
        ]
    },
    "anthropic models": {
        "data": [
            {
                "type": "model",
                "id": "claude-opus-4-6",
                "display_name": "Claude Opus 4.6",
                "created_at": "2026-01-02T00:00:00Z",
            }
        ],
        "has_more": False,
    },
    "compatible models": {
        "object": "list",
        "data": [{"id": "qwen2.5:0.5b", "object": "model", "created": 1}],
    },
}
RENDERINGS: dict[str, type[ChatRendering | MessagesRendering]] = {
    "databricks messages": MessagesRendering,
    "databricks chat": DatabricksRendering,
    "anthropic messages": MessagesRendering,
    "compatible chat": ChatRendering,
}


class FakeBackends(Fake):
    """The server's state."""

    def path_of(self, request: web.Request) -> str:
        if INVOCATIONS.fullmatch(request.path):
            return "databricks chat"
        return PATHS.get(request.path, request.path)

    async def reply(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        where, _, kind = seen.path.partition(" ")
        if status := refused_key(where, seen.headers):
            return refusal(seen, status, "the key is missing or wrong")
        if seen.path in LISTS:
            told = [rule for rule in self.script.rules if rule.get("when", {}).get("path") == seen.path]
            return (
                refusal(seen, told[0]["status"], "as told") if told else web.json_response(LISTS[seen.path])
            )
        reply = self.script.reply_for(seen)
        if kind == "count_tokens":
            return (
                refusal(seen, reply["status"], "as told")
                if reply
                else web.json_response({"input_tokens": 77})
            )
        if seen.path not in RENDERINGS:
            return refusal(seen, 404, "Not Found")
        seen.complaint = "" if self.lenient else complaint_of(seen.path, seen.body)
        if seen.complaint:
            return refusal(seen, 400, seen.complaint)
        return await answer(request, reply or DEFAULT, seen)


def refusal(seen: Seen, status: int, message: str) -> web.Response:
    """Refuse in the words of the backend: Anthropic's error object, Databricks', or OpenAI's."""
    if seen.path.startswith("anthropic"):
        return web.json_response(error_object(status, message), status=status)
    if seen.path.startswith("databricks"):
        return web.json_response({"error_code": "BAD_REQUEST", "message": message}, status=status)
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)


async def answer(request: web.Request, reply: Json, seen: Seen) -> web.StreamResponse:
    await asyncio.sleep(reply.get("first_delay", 0))
    if "status" in reply and "body" not in reply:
        response = refusal(seen, reply["status"], reply.get("message", "Provider returned error"))
        response.headers.update(reply.get("headers", {}))
        return response
    if "body" in reply:
        return plain(reply, seen)
    found = INVOCATIONS.fullmatch(request.path)
    model = found[1] if found else seen.body["model"]
    rendering = RENDERINGS[seen.path](reply, model, "msg_01FakeOfABackend")
    stream = bool(seen.body.get("stream"))
    pieces = rendering.frames() if stream else [json.dumps(rendering.whole()).encode()]
    kind = "text/event-stream" if stream else "application/json"
    response = web.StreamResponse(headers={"Content-Type": kind})
    await response.prepare(request)
    await play(response, pieces, reply, rendering)
    return response


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fake backends for tests.")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port, FakeBackends()))
