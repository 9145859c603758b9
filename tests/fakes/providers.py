"""Seven fake providers in one process: a real HTTP server on loopback, each provider under its own path.

    python -m tests.fakes.providers --port 0        prints {"port": N} and serves until its stdin closes

    POST /anthropic/v1/messages                                       Anthropic
    POST /openai/v1/chat/completions                                  OpenAI
    POST /gemini/v1beta/models/MODEL:streamGenerateContent?alt=sse    Google
    POST /cohere/v2/chat                                              Cohere
    POST /mistral/v1/chat/completions                                 Mistral
    POST /azure/openai/deployments/MODEL/chat/completions             Azure OpenAI
    POST /bedrock/model/MODEL/converse-stream                         Bedrock

Scripts, replies and faults are those of `openrouter`; a rule's `path` is the provider's name.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.openrouter import Fake, Reset, error_of, play, serve
from tests.fakes.provider_wires import WIRES

if TYPE_CHECKING:
    from tests.fakes.replies import Json
    from tests.fakes.rules import Seen

_PATHS = {
    "anthropic": r"/anthropic/v1/messages",
    "openai": r"/openai/v1/chat/completions",
    "gemini": r"/gemini/v1beta/models/(?P<model>[^/:]+):streamGenerateContent",
    "cohere": r"/cohere/v2/chat",
    "mistral": r"/mistral/v1/chat/completions",
    "azure": r"/azure/openai/deployments/(?P<model>[^/]+)/chat/completions",
    "bedrock": r"/bedrock/model/(?P<model>[^/]+)/converse-stream",
}
DEFAULT: Json = {"text": "Fine."}


def provider_of(path: str) -> tuple[str, str | None]:
    """Give the provider whose path it is, and the model that the path names."""
    for provider, pattern in _PATHS.items():
        if found := re.fullmatch(pattern, path):
            return provider, found.groupdict().get("model")
    return path, None


class FakeProviders(Fake):
    """Answers on every provider's wire."""

    def path_of(self, request: web.Request) -> str:
        return provider_of(request.path)[0]

    async def reply(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if request.method == "GET" and seen.path not in WIRES:  # a health check
            return web.json_response({"data": []}, status=200 if "models" in request.path else 404)
        if seen.path not in WIRES:
            return web.json_response({"message": f"no {request.path} here"}, status=404)
        wire = WIRES[seen.path]
        seen.complaint = "" if self.lenient else wire.complaint(seen)
        if seen.complaint:
            return _refused(seen, 400, seen.complaint)
        return await _perform(request, self.script.reply_for(seen) or DEFAULT, seen)


def _refused(seen: Seen, status: int, message: str, **headers: str) -> web.Response:
    body = WIRES[seen.path].error_body(status, message)
    return web.json_response(body, status=status, headers=headers)


async def _perform(request: web.Request, reply: Json, seen: Seen) -> web.StreamResponse:
    fault = reply.get("fault")
    await asyncio.sleep(reply.get("first_delay", 0))
    if fault == "reset_before_headers":
        raise Reset
    if fault == "stall_headers":
        await asyncio.Event().wait()
    if "status" in reply:
        return _refused(seen, reply["status"], reply.get("message", "no"), **reply.get("headers", {}))
    body: Any = seen.body
    wire = WIRES[seen.path](reply, provider_of(request.path)[1] or body["model"])
    response = web.StreamResponse(headers={"Content-Type": wire.content_type, **reply.get("headers", {})})
    await response.prepare(request)
    await play(response, wire.frames(), {**reply, "error": error_of(reply)}, wire)
    return response


def main() -> None:
    parser = argparse.ArgumentParser(description="Seven fake providers for tests.")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port, FakeProviders()))


if __name__ == "__main__":
    main()
