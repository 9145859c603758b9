"""A streaming answer between the upstream's first event and its last byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tasks.backend import Upstream
    from wire.errors import GatewayError
    from wire.messages import Json


class Translator(Protocol):
    """Upstream SSE bytes in, SSE bytes in the client's format out, whole frames only (`wire.chat_bytes`)."""

    @property
    def started(self) -> bool: ...

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

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...

    def fail(self, error: GatewayError, request_id: str) -> bytes: ...


class LiveStream:
    """An open upstream whose first event is already translated.

    Iterating gives whole SSE frames. Who iterates also calls `close`, however the iteration ended.
    `cut` says that the gateway itself ended it.
    """

    def __init__(
        self, upstream: Upstream, chunks: AsyncIterator[bytes], translator: Translator, first: bytes
    ) -> None:
        self.translator = translator
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
