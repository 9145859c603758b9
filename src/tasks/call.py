"""Reach the backend: send and read a whole answer, or open a stream up to its first event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from express import step
from tasks.live_stream import LiveStream
from wire.chat_bytes import ChatBytes
from wire.errors import UpstreamFailed, UpstreamTimeout
from wire.messages_bytes import MessagesBytes
from wire.openai_bytes import Chained, MessagesToOpenAI, OpenAIRelay
from wire.upstream_errors import from_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.backend import Lane, Outgoing, Reply, Upstream
    from tasks.live_stream import Translator
    from wire.errors import GatewayError


@step
async def call_backend(outgoing: Outgoing, backend: Lane) -> Reply:
    """Send the request and read the whole answer; raises what the upstream's status means."""
    reply = await backend.send(outgoing)
    if reply.status != 200:
        raise _refusal(reply.status, reply.body, reply.headers, outgoing)
    return reply


@step
async def open_stream(outgoing: Outgoing, backend: Lane) -> LiveStream:
    """Send the request and wait for the first event of the answer.

    A failure up to then is raised, so that it can still be retried and told as an HTTP status.
    """
    limit = asyncio.timeout(outgoing.first_event)
    try:
        async with limit:
            upstream = await backend.open_stream(outgoing)
            try:
                return await _await_first_event(upstream, outgoing)
            except BaseException:
                await upstream.close()
                raise
    except TimeoutError as error:
        if not limit.expired():
            raise
        late = f"upstream: no first event within {outgoing.first_event:g} s of the tools' results"
        raise UpstreamTimeout(late, retryable=True) from error


async def _await_first_event(upstream: Upstream, outgoing: Outgoing) -> LiveStream:
    kind = upstream.headers.get("content-type", "")
    if upstream.status != 200 or "text/event-stream" not in kind:
        # Some backends answer an error as JSON with status 200.
        raise _refusal(upstream.status, await upstream.read(), upstream.headers, outgoing)
    translator = _translator(outgoing)
    chunks = upstream.chunks()
    async for chunk in chunks:
        first = translator.feed(chunk)
        if translator.started:
            return LiveStream(upstream, chunks, translator, first)
    translator.finish()  # raises: a stream that ends before its first event is no answer
    raise UpstreamFailed("the upstream's stream ended before its first event", retryable=True)


def _translator(outgoing: Outgoing) -> Translator:
    if outgoing.translate is not None:
        return outgoing.translate()
    context, shape = outgoing.context, outgoing.shape
    if shape is None:
        if outgoing.wire == "messages":
            return MessagesBytes(context.model, context.whose_key)
        return ChatBytes(context)
    if outgoing.relayed:
        return OpenAIRelay(context, shape)
    translator = MessagesToOpenAI(context, shape)
    return translator if outgoing.wire == "messages" else Chained(ChatBytes(context), translator)


def _refusal(status: int, body: bytes, headers: Mapping[str, str], outgoing: Outgoing) -> GatewayError:
    return from_status(status, body, headers, wire=outgoing.wire, whose_key=outgoing.context.whose_key)
