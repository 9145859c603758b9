"""The token counter's own process: LiteLLM takes seconds to import and 200 MB to hold.

Run as `python -m coordinators.counter_process SOCKET`. Frames in both directions are a 4-byte
big-endian length and JSON: `{"id", "model", "body"}` in, `{"id", "tokens"}` or `{"id", "error"}` out.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

# Before litellm is imported, or it asks the network for prices (design.md, section 4).
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

FRAME_LIMIT = 64 * 1024 * 1024


def chat_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give Anthropic tools in the form that LiteLLM's counter takes; server tools by name only."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.get("name", tool.get("type", "")),
                "description": tool.get("description") or "",
                "parameters": tool.get("input_schema") or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    ]


def messages_with_system(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Put the system prompt in front of the messages, as the counter expects it."""
    messages: list[dict[str, Any]] = list(body.get("messages") or [])
    if system := body.get("system"):
        messages.insert(0, {"role": "system", "content": system})
    return messages


def has_remote_image(messages: list[dict[str, Any]]) -> bool:
    """Say whether any image is given by URL: the counter must then guess, not fetch it."""
    return b'"type":"url"' in orjson.dumps(messages)


def count(body: dict[str, Any], model: str, token_counter: Callable[..., int]) -> int:
    """Count system, messages, tools and images of one request."""
    messages = messages_with_system(body)
    return token_counter(
        model=model,
        messages=messages,
        tools=chat_tools(body.get("tools") or []) or None,
        use_default_image_token_count=has_remote_image(messages),
        default_token_count=0,
    )


def load_token_counter() -> Callable[..., int]:
    """Give LiteLLM's counter: seconds and 200 MB, where it is used and nowhere else."""
    import litellm  # noqa: PLC0415 - see above

    counter: Callable[..., int] = litellm.token_counter
    return counter


class _Server:
    def __init__(self) -> None:
        self._token_counter: Callable[..., int] | None = None

    def load(self) -> Callable[..., int]:
        if self._token_counter is None:
            self._token_counter = load_token_counter()
        return self._token_counter

    def reply(self, frame: bytes) -> bytes:
        request = orjson.loads(frame)
        try:
            answer = {"id": request["id"], "tokens": count(request["body"], request["model"], self.load())}
        except Exception as error:  # noqa: BLE001 - told to the asker, whatever the library raises
            answer = {"id": request["id"], "error": type(error).__name__}
        return orjson.dumps(answer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                if size > FRAME_LIMIT:
                    break
                out = self.reply(await reader.readexactly(size))
                writer.write(len(out).to_bytes(4, "big") + out)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass  # the asker left, or this process ends
        finally:
            writer.close()


async def run(path: str) -> None:
    """Listen on the socket until standard input ends: the parent holds its other end."""
    server = _Server()
    listener = await asyncio.start_unix_server(server.serve, path)
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.buffer.read)
    loop.call_later(0.5, server.load)
    async with listener:
        await ended


if __name__ == "__main__":
    os.nice(5)
    asyncio.run(run(sys.argv[1]))
