"""Token counts, from the counter's process, kept by content."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import orjson

from wire.body import encode_body
from wire.errors import UpstreamFailed

if TYPE_CHECKING:
    from wire.messages import Json

_KEPT = 4096
_SECONDS = 60.0
_STARTING_SECONDS = 10.0  # the counter's process starts after the web's, and again when it died
_STEP_SECONDS = 0.05
_COUNTED_FIELDS = ("system", "messages", "tools")


class CounterUnavailable(UpstreamFailed):
    """The counter's process does not answer."""


class Counter:
    """Asks the counter's process over its Unix socket (`tasks.count.TokenCounter`).

    Equal questions share one answer, also while it is on its way.
    """

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[int]] = {}
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._ids = itertools.count()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    async def count(self, body: Json, model: str) -> int:
        """Give the request's input tokens; raises CounterUnavailable, or InvalidRequest with a path."""
        counted = {name: body[name] for name in _COUNTED_FIELDS if body.get(name)}
        if wanted := (body.get("output_config") or {}).get("format") or body.get("output_format"):
            counted["output_config"] = {"format": wanted}  # its other fields ask for no tokens
        frame = encode_body(counted)
        key = hashlib.sha256(model.encode() + b"\0" + frame).digest()
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        if (asked := self._asked.get(key)) is None:
            asked = self._asked[key] = asyncio.ensure_future(self._ask(frame, model))
            asked.add_done_callback(lambda done: self._settle(key, done))
        # A client that leaves must not take the answer from the others who wait for it.
        return await asyncio.shield(asked)

    def _settle(self, key: bytes, done: asyncio.Future[int]) -> None:
        del self._asked[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._known[key] = done.result()
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)

    async def _ask(self, counted: bytes, model: str) -> int:
        try:
            async with asyncio.timeout(_SECONDS):
                writer = await self._connected()
                number = next(self._ids)
                answer = self._waiting[number] = asyncio.get_running_loop().create_future()
                head = b'{"id":%d,"model":%b,"body":' % (number, orjson.dumps(model))
                size = len(head) + len(counted) + 1
                writer.write(b"".join((size.to_bytes(4, "big"), head, counted, b"}")))
                try:
                    return int(await answer)
                finally:
                    self._waiting.pop(number, None)
        except (TimeoutError, OSError) as error:
            raise CounterUnavailable("the token counter does not answer", retryable=True) from error

    async def _connected(self) -> asyncio.StreamWriter:
        now = asyncio.get_running_loop().time
        until = now() + _STARTING_SECONDS
        async with self._connecting:
            while self._writer is None or self._writer.is_closing():
                try:
                    reader, self._writer = await asyncio.open_unix_connection(self._path)
                except OSError:
                    if now() >= until:
                        raise
                    await asyncio.sleep(_STEP_SECONDS)
                else:
                    self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                self._deliver(orjson.loads(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the counter's process ended"))

    def _deliver(self, answer: dict[str, Any]) -> None:
        waiting = self._waiting.get(answer["id"])
        if waiting is None or waiting.done():
            return
        if "tokens" in answer:
            waiting.set_result(answer["tokens"])
        else:
            waiting.set_exception(UpstreamFailed(f"the tokens could not be counted ({answer['error']})"))

    async def close(self) -> None:
        """Close the connection."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
