"""A fake OpenRouter that fails: rates, errors, resets and stalls, by the request's name and attempt.

    python -m tests.fakes.faulty --port 0        prints {"port": N} and serves until its stdin closes

    POST /api/v1/chat/completions, /api/v1/messages      answered by `echo_of` the last message
    GET  /_counts                                         how often each request came, by name

A request's name is the first word of its last message. What goes wrong follows from name and attempt alone:
`plan` gives the faults of a name, one an attempt, after which it is answered. A name in `REFUSED` never is.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
from collections import Counter
from typing import Any

from aiohttp import web

from tests.fakes.handle import FakeOpenRouter
from tests.fakes.messages_replies import error_object
from tests.fakes.openrouter import reset_connection

STALL_SECONDS = 60.0
REFUSED = "refused-"
_KINDS = ("rate", "error", "unavailable", "reset", "stall")
_WEIGHTS = (30, 25, 15, 20, 10)
_STATUSES = {"rate": 429, "error": 500, "unavailable": 503}


def plan(name: str) -> list[str]:
    """Give what goes wrong with a request, attempt by attempt."""
    drawn = random.Random(name)
    count = drawn.choices((0, 1, 2, 3), (70, 18, 8, 4))[0]
    return drawn.choices(_KINDS, _WEIGHTS, k=count)


def echo_of(text: str) -> str:
    """Give the answer to a text: its name, and a digest by which another's answer is told."""
    return f"{text.split(maxsplit=1)[0]} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Faulty:
    """The server's state. `delay` is the least time of an answer, in seconds; some take three times that."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.counts: Counter[str] = Counter()

    async def tell(self, _request: web.Request) -> web.Response:
        return web.json_response(self.counts)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = _text(body["messages"][-1]["content"])
        name = text.split()[0]
        self.counts[name] += 1
        faults = plan(name)
        fault = faults[self.counts[name] - 1] if self.counts[name] <= len(faults) else None
        messages = request.path.endswith("/messages")
        await asyncio.sleep(self.delay * random.uniform(1, 3))
        if name.startswith(REFUSED):
            return _failure(400, "this one is refused", messages=messages)
        if fault == "reset":
            reset_connection(request)
        elif fault == "stall":
            await asyncio.sleep(STALL_SECONDS)
        elif fault is not None:
            after = {"retry-after": "1"} if fault == "rate" else {}
            return _failure(_STATUSES[fault], f"{fault}, as planned", messages=messages, headers=after)
        return web.json_response(_message(body, text) if messages else _completion(body, text))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _failure(
    status: int, message: str, *, messages: bool, headers: dict[str, str] | None = None
) -> web.Response:
    body = error_object(status, message) if messages else {"error": {"code": status, "message": message}}
    return web.json_response(body, status=status, headers=headers)


def _message(body: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "id": "gen-1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": echo_of(text)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def _completion(body: dict[str, Any], text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": echo_of(text)}
    return {
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1763942400,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


class FakeFaulty(FakeOpenRouter):
    """The fake in a process of its own; `counts` tells how often each request came."""

    module = "tests.fakes.faulty"

    def __init__(self, delay: float = 0.1) -> None:
        super().__init__()
        self.arguments = ("--delay", str(delay))

    def counts(self) -> dict[str, int]:
        return dict(self._call("/_counts"))


async def serve(port: int, faulty: Faulty) -> None:
    """Serve until stdin closes, so that no fake outlives the test that started it."""
    app = web.Application()
    app.router.add_get("/_counts", faulty.tell)
    app.router.add_post("/{path:.*}", faulty.answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.2).start()
    sys.stdout.write(json.dumps({"port": runner.addresses[0][1]}) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake OpenRouter that fails.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.1)
    options = parser.parse_args()
    asyncio.run(serve(options.port, Faulty(options.delay)))


if __name__ == "__main__":
    main()
