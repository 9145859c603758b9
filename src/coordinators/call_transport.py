"""One LiteLLM call's way upstream, over our own connections.

LiteLLM takes an HTTP client to call by. The one it gets sends by `HttpUpstream`, so that time-outs and
connections are ours and nothing is sent twice, and it notes what the upstream really answered: LiteLLM's
exceptions keep that in part only, and it takes a stream that was cut for one that ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import yarl

from tasks.backend import Reply
from wire.errors import GatewayError
from wire.litellm_chat import COHERE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from coordinators.http_upstream import HttpStream, HttpUpstream

_HOP = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})
_CHAT_END = re.compile(rb'"finish_reason"\s*:\s*"').search
_END_MARKS = {
    "anthropic": re.compile(rb"\nevent: ?message_delta").search,
    COHERE: re.compile(rb'"message-end"').search,
    "bedrock": re.compile(rb"messageStop").search,
    "gemini": re.compile(rb'"finishReason"').search,
}
"""What stands in a stream that says why its answer ended, by provider; the others are chat streams.

A model cannot write any of these: a stream's text is JSON, in which lines do not begin anew and quotes are
escaped; Bedrock's stands in a frame's header.
"""

_LONGEST_MARK = 40


class CallTransport(httpx.AsyncBaseTransport):
    """Sends one call. `whole` says that its answer is no stream.

    `answer` is the upstream's whole answer, or its refusal of a stream; `failure` what broke on the way;
    `ended` whether the upstream's stream said why its answer ended.
    """

    def __init__(self, http: HttpUpstream, provider: str, *, whole: bool) -> None:
        self.answer: Reply | None = None
        self.failure: GatewayError | None = None
        self.ended = False
        self.streams: list[HttpStream] = []
        self._http = http
        self._end_mark = _END_MARKS.get(provider, _CHAT_END)
        self._whole = whole

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and note what comes back before LiteLLM sees it; raises GatewayError."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        await self.post(str(request.url), await request.aread(), headers)
        if (answer := self.answer) is not None:
            return httpx.Response(answer.status, headers=answer.headers, content=answer.body)
        stream = self.streams[-1]
        return httpx.Response(stream.status, headers=stream.headers, stream=_Body(self, stream))

    async def post(self, address: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Send; the answer is then in `answer`, or a stream that was begun in `streams`."""
        url = yarl.URL(address, encoded=True)  # Bedrock's signature covers the path as it is
        headers = {"content-type": "application/json", **headers, "accept-encoding": "identity"}
        try:
            if self._whole:
                self.answer = await self._http.post(url, payload, headers)
                return
            stream = await self._http.open(url, payload, headers)
            self.streams.append(stream)
            if stream.status >= 300:
                self.answer = Reply(stream.status, stream.headers, await stream.read())
        except GatewayError as error:
            self.failure = error
            raise

    async def read(self, stream: HttpStream) -> AsyncIterator[bytes]:
        """Give a stream's bytes, noting what breaks it and whether it ends."""
        tail = b""
        try:
            async for chunk in stream.chunks():
                if not self.ended:
                    seen = tail + chunk
                    self.ended = self._end_mark(seen) is not None
                    tail = seen[-_LONGEST_MARK:]
                yield chunk
        except GatewayError as error:
            self.failure = error
            raise

    async def aclose(self) -> None:
        """Do nothing when LiteLLM's client is closed: the connections are `HttpUpstream`'s."""

    async def close(self) -> None:
        """Close this call's connection, or give it back if the answer was read to its end."""
        for stream in self.streams:
            await stream.close()


class _Body(httpx.AsyncByteStream):
    """A stream's bytes on their way into LiteLLM."""

    def __init__(self, transport: CallTransport, stream: HttpStream) -> None:
        self._transport = transport
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._transport.read(self._stream)

    async def aclose(self) -> None:
        await self._stream.close()
