"""The demo backend: a small process on loopback that speaks OpenRouter's real wires without any model or key.

    python -m coordinators.demo --port 0 [--parent-pipe]      prints its base URL, then serves

`headgate serve` starts it when no backend is configured, so that the whole pipeline runs for real. What it
does is asked for in the last user message: `demo tool [NAME]` calls a tool that was offered, `demo error 429`
(any status), `demo error midstream` and `demo error cut` fail. A `tool_choice` that demands a call gets one.
With `--parent-pipe` it ends when stdin does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from coordinators.demo_reply import Json, Refused, Reply, pieces, reply_to

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_SECONDS = 0.01
MAX_BODY = 64 * 2**20
MODELS = ("anthropic/claude-sonnet-4", "anthropic/claude-3.7-sonnet", "openai/gpt-5")
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


# ---- the chat wire ----


def chat_stop(reply: Reply) -> Json:
    reason = "tool_calls" if reply.tool else "length" if reply.cut else "stop"
    return {"finish_reason": reason, "native_finish_reason": reason}


def chat_usage(reply: Reply) -> Json:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "cost": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": len(reply.reasoning) // 4},
    }


def chat_calls(reply: Reply) -> Json:
    if reply.tool is None:
        return {}
    name, given = reply.tool
    function = {"name": name, "arguments": orjson.dumps(given).decode()}
    return {"tool_calls": [{"index": 0, "id": reply.call_id, "type": "function", "function": function}]}


def reasoning_detail(text: str) -> Json:
    return {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}


def chat_whole(reply: Reply, model: str) -> Json:
    """Give the completion of a non-stream request."""
    message: Json = {"role": "assistant", "content": reply.text, **chat_calls(reply)}
    if reply.reasoning:
        message |= {"reasoning": reply.reasoning, "reasoning_details": [reasoning_detail(reply.reasoning)]}
    choice = {"index": 0, "message": message, "logprobs": None, **chat_stop(reply)}
    head = {"id": reply.id, "object": "chat.completion", "created": int(time.time()), "model": model}
    return {**head, "provider": "Demo", "choices": [choice], "usage": chat_usage(reply)}


def chat_deltas(reply: Reply) -> Iterator[Json]:
    for piece in pieces(reply.reasoning):
        yield {"content": "", "reasoning": piece, "reasoning_details": [reasoning_detail(piece)]}
    for piece in pieces(reply.text):
        yield {"content": piece}
    if reply.tool:
        yield {"content": None, **chat_calls(reply)}


def chat_frames(reply: Reply, model: str) -> Iterator[bytes]:
    """Give the frames of a stream, keep-alive comment and `[DONE]` included."""
    head = {"id": reply.id, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}

    def frame(delta: Json, **more: Any) -> bytes:
        stop = more.pop("stop", {"finish_reason": None, "native_finish_reason": None})
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "logprobs": None, **stop}
        return b"data: " + orjson.dumps({**head, "provider": "Demo", "choices": [choice], **more}) + b"\n\n"

    yield b": OPENROUTER PROCESSING\n\n"
    for delta in chat_deltas(reply):
        yield frame(delta)
    if reply.fails == "midstream":
        error = {"code": 502, "message": "Headgate's demo backend fails in mid-stream, as asked"}
        yield frame({"content": ""}, stop={"finish_reason": "error"}, error=error)
    elif not reply.fails:
        yield frame({"content": ""}, stop=chat_stop(reply))
        yield frame({"content": ""}, usage=chat_usage(reply), stop=chat_stop(reply))
        yield b"data: [DONE]\n\n"


# ---- the messages wire ----


def messages_usage(reply: Reply) -> Json:
    counted = {"input_tokens": reply.prompt_tokens, "output_tokens": reply.completion_tokens}
    return {**counted, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


def messages_stop(reply: Reply) -> Json:
    reason = "tool_use" if reply.tool else "max_tokens" if reply.cut else "end_turn"
    return {"stop_reason": reason, "stop_sequence": None}


def messages_blocks(reply: Reply) -> list[Json]:
    blocks: list[Json] = []
    if reply.reasoning:
        blocks.append({"type": "thinking", "thinking": reply.reasoning, "signature": "demo"})
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    if reply.tool:
        name, given = reply.tool
        blocks.append({"type": "tool_use", "id": reply.call_id, "name": name, "input": given})
    return blocks


def messages_whole(reply: Reply, model: str) -> Json:
    """Give the Message of a non-stream request."""
    head = {"id": reply.id, "type": "message", "role": "assistant", "model": model}
    return {
        **head,
        "content": messages_blocks(reply),
        **messages_stop(reply),
        "usage": messages_usage(reply),
    }


def opened(block: Json) -> tuple[Json, list[Json]]:
    """Give a block as it starts, and the deltas that fill it."""
    match block["type"]:
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]
        case "text":
            return {"type": "text", "text": ""}, [
                {"type": "text_delta", "text": piece} for piece in pieces(block["text"])
            ]
        case _:
            given = orjson.dumps(block["input"]).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]


def messages_events(reply: Reply, model: str) -> Iterator[Json]:
    """Give the events of a stream."""
    message = {**messages_whole(reply, model), "content": [], "stop_reason": None}
    message["usage"] = {**message["usage"], "output_tokens": 1}
    yield {"type": "message_start", "message": message}
    yield {"type": "ping"}
    for index, block in enumerate(messages_blocks(reply)):
        start, deltas = opened(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    if reply.fails == "midstream":
        yield error_object(502, "Headgate's demo backend fails in mid-stream, as asked")
    elif not reply.fails:
        yield {"type": "message_delta", "delta": messages_stop(reply), "usage": messages_usage(reply)}
        yield {"type": "message_stop"}


def messages_frames(reply: Reply, model: str) -> Iterator[bytes]:
    for event in messages_events(reply, model):
        yield b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


def error_object(status: int, message: str) -> Json:
    return {"type": "error", "error": {"type": ERROR_TYPES.get(status, "api_error"), "message": message}}


# ---- the server ----


def refusal(status: int, message: str, *, chat: bool) -> web.Response:
    theirs = {"error": {"code": status, "message": message}}
    body = theirs if chat else error_object(status, message)
    headers = {"Retry-After": "1"} if status == 429 else {}
    return web.json_response(body, status=status, headers=headers)


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer `POST /chat/completions` and `POST /messages`."""
    chat = request.path.endswith("/chat/completions")
    raw = await request.read()
    try:
        body = orjson.loads(raw)
        model, stream = body["model"], bool(body.get("stream"))
        reply = reply_to(body, len(raw))
    except Refused as refused:
        return refusal(refused.status, str(refused), chat=chat)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return refusal(400, f"the demo backend cannot read this request: {error!r}", chat=chat)
    if not stream:
        if reply.fails:
            return refusal(502, "Headgate's demo backend fails, as asked", chat=chat)
        whole = chat_whole(reply, model) if chat else messages_whole(reply, model)
        return web.json_response(whole, headers={"X-Generation-Id": reply.id})
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "X-Generation-Id": reply.id,
    }
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for frame in chat_frames(reply, model) if chat else messages_frames(reply, model):
        await response.write(frame)
        await asyncio.sleep(PIECE_SECONDS)
    return response


async def models(_request: web.Request) -> web.Response:
    """List the models in OpenRouter's shape."""
    listed = [{"id": name, "name": f"{name} (demo)", "context_length": 200_000} for name in MODELS]
    return web.json_response({"data": listed})


async def key(_request: web.Request) -> web.Response:
    return web.json_response({"data": {"label": "demo", "usage": 0, "limit": None}})


async def nothing_here(_request: web.Request) -> web.Response:
    return refusal(404, "Not Found", chat=True)


def application() -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/api/v1/chat/completions", answer)
    app.router.add_post("/api/v1/messages", answer)
    app.router.add_get("/api/v1/models", models)
    app.router.add_get("/api/v1/key", key)
    app.router.add_route("*", "/{path:.*}", nothing_here)
    return app


def end_with_parent(ended: asyncio.Event) -> None:
    """Set `ended` when stdin ends: its other end is held by the parent alone."""
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            ended.set()

    loop.add_reader(stdin, read)


async def serve(port: int, *, parent_pipe: bool) -> None:
    """Serve on loopback until a signal, or the parent's end."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    if parent_pipe:
        end_with_parent(ended)
    runner = web.AppRunner(application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.5).start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1\n")
    sys.stdout.flush()
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="coordinators.demo", description="Headgate's demo backend.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--parent-pipe", action="store_true", help="end when stdin does")
    told = parser.parse_args()
    asyncio.run(serve(told.port, parent_pipe=told.parent_pipe))


if __name__ == "__main__":
    main()
