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

from coordinators.countable import Countable
from express.niceness import give_way

if TYPE_CHECKING:
    from collections.abc import Callable

# Before litellm is imported, or it asks the network for prices (design.md, section 4).
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

FRAME_LIMIT = 64 * 1024 * 1024


def count(body: dict[str, Any], model: str, token_counter: Callable[..., int]) -> int:
    """Count system, messages, tools, images, documents and the wanted format of one request."""
    told = Countable(body)
    messages: dict[str, Any] = {
        "model": model,
        "messages": told.messages,
        "use_default_image_token_count": told.guesses,
        "default_token_count": 0,
    }
    try:
        tokens = token_counter(**messages, tools=told.tools or None)
    except (AttributeError, KeyError, TypeError):
        # It reads only plain schemas: not an array without `items`, nor `true` in a schema's place.
        tools = orjson.dumps(told.tools).decode()
        tokens = token_counter(**messages) + token_counter(model=model, text=tools)
    if told.text:
        tokens += token_counter(model=model, text=told.text)
    return tokens + told.tokens


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
    give_way(5)
    asyncio.run(run(sys.argv[1]))
