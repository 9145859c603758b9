"""A streaming answer between the upstream's first event and its last byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wire.errors import GatewayError
from wire.messages_bytes import MessagesBytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tasks.backend import Upstream
    from wire.messages import Json


class Telling(Protocol):
    """What is known of a stream's answer; all of it once the stream has ended."""

    @property
    def failed(self) -> bool: ...

    @property
    def usage(self) -> Json | None: ...

    @property
    def cost(self) -> float | None: ...

    @property
    def stop_reason(self) -> str | None: ...

    @property
    def generation_id(self) -> str | None: ...


class Translator(Telling, Protocol):
    """Upstream SSE bytes in, Anthropic SSE bytes out, whole frames only (`wire.chat_bytes`)."""

    @property
    def started(self) -> bool: ...

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...

    def fail(self, error: GatewayError, request_id: str) -> bytes: ...


def error_told(translator: Telling) -> GatewayError:
    """Give the error of a stream in which the upstream told of one; raised, so that it has a place.

    Only who passes an upstream's frames on has such an error at hand: others raise it in the stream's midst.
    """
    error = translator.error if isinstance(translator, MessagesBytes) else None
    try:
        raise error or GatewayError("the upstream told of an error in mid-stream")
    except GatewayError as raised:
        return raised


class Live(Protocol):
    """A streaming answer whose first event is there; `LiveStream` says how it is used."""

    cut: bool

    @property
    def translator(self) -> Telling: ...

    def frames(self) -> AsyncIterator[bytes]: ...

    def fail(self, error: GatewayError, request_id: str) -> bytes: ...

    async def close(self) -> None: ...


class LiveStream:
    """An open upstream whose first event is already translated.

    Iterating gives whole SSE frames. Who iterates also calls `close`, however the iteration ended.
    `cut` says that the gateway itself ended it.
    """

    def __init__(
        self, upstream: Upstream, chunks: AsyncIterator[bytes], translator: Translator, first: bytes
    ) -> None:
        self.translator: Translator = translator
        self.cut = False
        self._upstream = upstream
        self._chunks = chunks
        self._first = first

    async def frames(self) -> AsyncIterator[bytes]:
        """Give the translated answer; raises the GatewayError that ended it early."""
        translator = self.translator
        yield self._first
        async for chunk in self._chunks:
            if out := translator.feed(chunk):
                yield out
            if translator.failed:
                break  # the upstream may say so and still hold the connection open
        if out := translator.finish():
            yield out

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the SSE `error` event that tells the client why the stream ends here."""
        return self.translator.fail(error, request_id)

    async def close(self) -> None:
        """Close the upstream connection."""
        await self._upstream.close()
