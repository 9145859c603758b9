"""A fake OpenRouter: a real HTTP server on loopback that speaks both of its wires and is scripted per test.

    python -m tests.fakes.openrouter --port 0        prints {"port": N} and serves until its stdin closes

    POST /api/v1/chat/completions, /api/v1/messages, /api/v1/messages/count_tokens
    GET  /api/v1/models, /api/v1/key
    POST /_script {"rules": […], "main_only": bool, "lenient": bool}; GET /_requests; POST /_reset, /_release

Replies and rules are described in `replies` and `rules`; `handle.FakeOpenRouter` runs this as a child.
A reply's `fault` says what goes wrong, `after` how many pieces were sent before it:

    reset_before_headers, reset_after_headers, reset   the connection is reset (RST), the last in mid-stream
    half_json       the next piece, or the whole body, is cut in half, then a clean end
    stall_headers, stall   never another byte
    error_frame     an error in the stream (`error`: {code, message}), then its end; whole: error_in_200
    error_in_200    an error as the JSON body of a 200
    truncate        a clean end too early
    empty           no body at all

A reply with `hold` stops after so many pieces of its stream, and goes on at the test's `/_release`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import socket
import struct
import sys
import uuid
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from tests.fakes.laws import chat_complaint, messages_complaint
from tests.fakes.messages_replies import MessagesRendering, PricedRendering, error_object
from tests.fakes.replies import ChatRendering, Json
from tests.fakes.rules import DEFAULT, Script, Seen

PATHS = {
    "/api/v1/chat/completions": "chat",
    "/api/v1/messages": "messages",
    "/api/v1/messages/count_tokens": "count_tokens",
    "/api/v1/models": "models",
    "/api/v1/key": "key",
}
MODELS = (
    "anthropic/claude-sonnet-4",
    "anthropic/claude-3.7-sonnet",
    "anthropic/claude-opus-4.6",
    "openai/gpt-5",
)
MAX_BODY = 64 * 2**20

Rendering = ChatRendering | MessagesRendering


class Reset(Exception):
    """The connection is to be reset now."""


def models_list() -> Json:
    return {
        "data": [
            {
                "id": name,
                "canonical_slug": name,
                "name": name.split("/")[1].replace("-", " ").title(),
                "created": 1747930371,
                "description": f"{name}, as the fake describes it.",
                "context_length": 200000,
                "architecture": {
                    "modality": "text+image->text",
                    "input_modalities": ["text", "image", "file"],
                    "output_modalities": ["text"],
                    "tokenizer": "Claude",
                    "instruct_type": None,
                },
                "pricing": {"prompt": "0.000003", "completion": "0.000015"},
                "top_provider": {
                    "context_length": 200000,
                    "max_completion_tokens": 64000,
                    "is_moderated": False,
                },
                "per_request_limits": None,
                "supported_parameters": ["max_tokens", "tools", "tool_choice", "reasoning", "stop"],
            }
            for name in MODELS
        ]
    }


class Fake:
    """The server's state: the script, and what was seen."""

    def __init__(self) -> None:
        self.script = Script([])
        self.lenient = False
        self.seen: list[Seen] = []
        self.released = asyncio.Event()

    # ---- control ----

    async def set_script(self, request: web.Request) -> web.Response:
        told = await request.json()
        self.script = Script(told["rules"], main_only=told.get("main_only", False))
        self.lenient = told.get("lenient", False)
        return web.json_response({"rules": len(told["rules"])})

    async def list_requests(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(seen) for seen in self.seen])

    async def reset(self, _request: web.Request) -> web.Response:
        self.script, self.lenient, self.seen = Script([]), False, []
        return await self.release(_request)

    async def release(self, _request: web.Request) -> web.Response:
        """Let the streams that are held go on."""
        self.released.set()
        self.released = asyncio.Event()
        return web.json_response({})

    # ---- the wires ----

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode(errors="replace")
        seen = Seen(
            path=self.path_of(request),
            method=request.method,
            query=request.query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            size=len(raw),
        )
        self.seen.append(seen)
        try:
            response = await self.reply(request, seen)
        except Reset:
            reset_connection(request)
            return web.Response()
        except (asyncio.CancelledError, ConnectionError):
            seen.close()
            raise
        seen.finished = True
        return response

    def path_of(self, request: web.Request) -> str:
        """Give the short name of the request's path, which scripts know it by."""
        return PATHS.get(request.path, request.path)

    async def reply(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        reply = self.script.reply_for(seen)
        if seen.path not in ("chat", "messages"):
            return plain(reply, seen) if reply else unscripted(seen)
        laws = chat_complaint if seen.path == "chat" else messages_complaint
        seen.complaint = "" if self.lenient else laws(seen.body)
        if seen.complaint:
            return plain({"status": 400, "message": seen.complaint}, seen)
        return await perform(request, reply or DEFAULT, seen, self.released)


def unscripted(seen: Seen) -> web.Response:
    if seen.path == "models":
        return web.json_response(models_list())
    if seen.path == "key":
        return web.json_response({"data": {"label": "sk-or-v1-…", "usage": 0, "limit": None}})
    return plain({"status": 404, "message": "Not Found"}, seen)


def error_of(reply: Json) -> Json:
    return {"code": 502, "message": "Provider returned error", **reply.get("error", {})}


def plain(reply: Json, seen: Seen) -> web.Response:
    """Give an answer as it is: `status`, `headers`, and `body` (JSON or text), or `message` as an error."""
    status = reply.get("status", 200)
    headers = dict(reply.get("headers", {}))
    if "body" in reply:
        body = reply["body"]
    elif seen.path == "messages":
        body = error_object(status, reply.get("message", "Provider returned error"))
    else:
        message = reply.get("message", "Provider returned error")
        body = {"error": {"code": status, "message": message, **reply.get("extra", {})}, "user_id": "user_1"}
    payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = reply.get("content_type") or ("text/html" if isinstance(body, str) else "application/json")
    return web.Response(status=status, body=payload, headers={**headers, "Content-Type": kind})


def raw_pieces(reply: Json) -> list[bytes] | None:
    """Give the bytes that a reply spells out itself: `raw` (texts) or `raw_base64`."""
    if "raw_base64" in reply:
        return [base64.b64decode(piece) for piece in reply["raw_base64"]]
    if "raw" in reply:
        raw = [reply["raw"]] if isinstance(reply["raw"], str) else reply["raw"]
        return [piece.encode() for piece in raw]
    return None


async def perform(
    request: web.Request, reply: Json, seen: Seen, released: asyncio.Event | None = None
) -> web.StreamResponse:
    """Play a scripted reply on the wire that the request came by."""
    fault = reply.get("fault")
    await asyncio.sleep(reply.get("first_delay", 0))
    if fault == "reset_before_headers":
        raise Reset
    if fault == "stall_headers":
        await asyncio.Event().wait()
    if "status" in reply or "body" in reply:
        return plain(reply, seen)
    stream = bool(seen.body.get("stream"))
    generation = f"gen-1763942400-{uuid.uuid4().hex[:20]}"
    kind = ChatRendering if seen.path == "chat" else PricedRendering
    rendering: Rendering = kind(reply, seen.body["model"], generation)
    if fault == "error_in_200" or (fault == "error_frame" and not stream):
        error = error_of(reply)
        return web.json_response({"error": {"code": error["code"], "message": error["message"]}})
    pieces = raw_pieces(reply)
    if pieces is None:
        pieces = rendering.frames() if stream else [json.dumps(rendering.whole()).encode()]
    response = web.StreamResponse(
        headers={
            "Content-Type": reply.get("content_type")
            or ("text/event-stream" if stream else "application/json"),
            "X-Generation-Id": generation,
            **reply.get("headers", {}),
        }
    )
    await response.prepare(request)
    if released is not None and (held := reply.get("hold")):
        await response.write(b"".join(pieces[:held]))
        pieces = pieces[held:]
        await released.wait()
    await play(response, pieces, reply, rendering)
    return response


class TellsErrors(Protocol):
    """What `play` must know of a rendering: how its wire tells an error in mid-stream."""

    def error_frame(self, error: Json) -> bytes: ...


async def play(
    response: web.StreamResponse, pieces: list[bytes], reply: Json, rendering: TellsErrors
) -> None:
    """Send the pieces, with the reply's delay between them, up to its fault."""
    fault, after = reply.get("fault"), reply.get("after", 0)
    if fault is None:
        after = len(pieces)
    elif fault in ("reset_after_headers", "empty"):
        after = 0
    elif fault == "half_json":
        after = min(after, len(pieces) - 1)  # the piece that is cut; a whole answer is one piece
    delay = reply.get("delay", 0)
    if not delay:
        await response.write(b"".join(pieces[:after]))
    else:
        for piece in pieces[:after]:
            await response.write(piece)
            await asyncio.sleep(delay)
    if fault in ("reset", "reset_after_headers"):
        await asyncio.sleep(0.05)  # what was written reaches the client before the reset discards it
        raise Reset
    if fault == "stall":
        await asyncio.Event().wait()
    if fault == "half_json":
        await response.write(pieces[after][: len(pieces[after]) // 2])
    if fault == "error_frame":
        await response.write(rendering.error_frame(error_of(reply)))
    await response.write_eof()


def reset_connection(request: web.Request) -> None:
    """Close with RST instead of FIN."""
    transport: Any = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def application(fake: Fake) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/_script", fake.set_script)
    app.router.add_get("/_requests", fake.list_requests)
    app.router.add_post("/_reset", fake.reset)
    app.router.add_post("/_release", fake.release)
    app.router.add_route("*", "/{path:.*}", fake.answer)
    return app


async def serve(port: int, fake: Fake) -> None:
    """Serve until stdin closes, so that no fake outlives the test that started it."""
    runner = web.AppRunner(application(fake), handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.2)
    await site.start()
    sys.stdout.write(json.dumps({"port": runner.addresses[0][1]}) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake OpenRouter for tests.")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port, Fake()))


if __name__ == "__main__":
    main()
