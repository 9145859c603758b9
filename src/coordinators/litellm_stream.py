"""A LiteLLM stream as the SSE bytes of a chat stream."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from wire.chat_bytes import read_chunk
from wire.errors import GatewayError, UnsupportedContent, UpstreamFailed
from wire.litellm_chat import chat_chunk
from wire.sse import SseDecoder
from wire.upstream_errors import from_status, masked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from coordinators.call_transport import CallTransport
    from tasks.backend import Reply
    from wire.messages import Json

_CUT = "the upstream ended the stream before its answer was complete"
_PREFIX = re.compile(r"(?:litellm\.)?(?:\w+Error|\w+Exception|Timeout)\s*[:-]\s*(?:b(?=['\"]))?")
_SUFFIX = re.compile(r"(?: Original exception: | Handle with |\s*Traceback |\nReceived chunk).*", re.DOTALL)


class Refused:
    """An upstream's refusal of a stream (`tasks.backend.Upstream`)."""

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._body = reply.body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the refusal's body."""
        yield self._body

    async def read(self) -> bytes:
        """Give the refusal's body."""
        return self._body

    async def close(self) -> None:
        """Do nothing: all of it was read."""


class ChatFrames:
    """Chat chunks as an open stream (`tasks.backend.Upstream`); closing closes the call's connection."""

    status = 200

    def __init__(self, told: AsyncIterator[Json], transport: CallTransport, answer: Any) -> None:
        self.headers = {"content-type": "text/event-stream"}
        self._told = told
        self._transport = transport
        self._answer = answer
        self._first: bytes | None = None

    async def start(self) -> None:
        """Wait for the first chunk: LiteLLM calls some providers only when it is asked for."""
        self._first = await self._next()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give each chunk as an SSE frame, then `[DONE]`; raises the GatewayError that broke the stream."""
        frame = self._first
        while frame is not None:
            yield frame
            frame = await self._next()
        yield b"data: [DONE]\n\n"

    async def read(self) -> bytes:
        """Give the rest at once."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def close(self) -> None:
        """Close the connection, and what LiteLLM keeps around it."""
        await self._transport.close()
        with suppress(Exception):
            await self._answer.aclose()

    async def _next(self) -> bytes | None:
        chunk = await anext(self._told, None)
        return None if chunk is None else b"data: %b\n\n" % orjson.dumps(chunk)


async def litellm_chunks(
    answer: Any, transport: CallTransport, provider: str, cost: Callable[[Any], float | None]
) -> AsyncIterator[Json]:
    """Give LiteLLM's chunks as chat chunks, without what it makes up; raises GatewayError.

    It ends a stream that was cut with a `finish_reason` of its own, and tells a usage that it counted itself
    where the upstream told none. `cost` prices a usage whose cost the upstream does not tell.
    """
    while (chunk := await _next_chunk(answer, transport)) is not None:
        told = chat_chunk(chunk.model_dump(exclude_none=True), provider)
        if any(choice.get("finish_reason") for choice in told["choices"]) and not transport.ended:
            raise transport.failure or UpstreamFailed(_CUT)
        if usage := told.get("usage"):
            if not any(getattr(one, "usage", None) for one in answer.chunks):
                del told["usage"]
            else:
                told["usage"] = {**usage, "cost": cost(chunk.usage)}
        yield told
    if transport.failure is not None:
        raise transport.failure


async def _next_chunk(answer: Any, transport: CallTransport) -> Any:
    """Give LiteLLM's next chunk, None at the end; raises GatewayError."""
    try:
        return await anext(answer, None)
    except Exception as error:
        raise told_error(error, transport) from error


async def own_chunks(
    transport: CallTransport, read: Callable[[Json], Json | None], cost: Callable[[Any], float | None]
) -> AsyncIterator[Json]:
    """Give the chunks of the stream that a call opened, read here and not by LiteLLM; raises GatewayError."""
    decoder = SseDecoder()
    async for piece in transport.read(transport.streams[0]):
        for event, data in decoder.feed(piece):
            told = None if data == b"[DONE]" else read_chunk(event, data, cut=False)
            if told is None or (chunk := read(told)) is None:
                continue
            usage = chunk.get("usage")
            if isinstance(usage, dict) and usage.get("cost") is None:
                chunk["usage"] = {**usage, "cost": cost(usage)}
            yield chunk
    if not transport.ended:
        raise UpstreamFailed(_CUT)


def told_error(error: Exception, transport: CallTransport) -> GatewayError:
    """Give our error for LiteLLM's: what the transport saw, else what LiteLLM's own status means."""
    if transport.failure is not None:
        return transport.failure
    if isinstance(error, GatewayError):
        return error
    text = _plain(str(getattr(error, "message", "") or error))
    kind = type(error).__name__
    if kind == "UnsupportedParamsError":
        return UnsupportedContent(text.partition(" To drop these")[0])
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or status == 500:
        return UpstreamFailed(text)
    body = orjson.dumps({"error": {"message": text}})
    return from_status(status, body, {}, wire="chat", whose_key="the upstream key")


def _plain(text: str) -> str:
    """Take LiteLLM's own wrapping off an error's text: class names, hints and tracebacks."""
    text = _SUFFIX.sub("", masked(text))
    return _PREFIX.sub("", text).strip()[:1000] or "LiteLLM failed without saying why"
