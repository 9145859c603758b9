"""A chat stream's bytes as an Anthropic stream's bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from wire.chat_stream import ChatStream
from wire.errors import GatewayError, UpstreamFailed, error_body
from wire.sse import SseDecoder, encode_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire.answer import AnswerContext
    from wire.messages import Event, Json
    from wire.sse import Frame


class ChatBytes:
    """Upstream SSE bytes in, Anthropic SSE bytes out, whole frames only.

    An error that comes after something to send is kept until that is sent: `failed` is then true, and the
    next `feed` or `finish` raises it.
    """

    __slots__ = ("_decoder", "_done", "_error", "_stream", "failed")

    def __init__(self, context: AnswerContext) -> None:
        self._stream = ChatStream(context)
        self._decoder = SseDecoder()
        self._done = False
        self._error: GatewayError | None = None
        self.failed = False

    @property
    def started(self) -> bool:
        """Whether something real was received; before, `feed` gives nothing."""
        return self._stream.started

    @property
    def usage(self) -> Json | None:
        """The upstream's true usage, in Anthropic's words."""
        return self._stream.usage

    @property
    def cost(self) -> float | None:
        """The dollars the answer cost, if the upstream says."""
        return self._stream.cost

    @property
    def stop_reason(self) -> str | None:
        """Why the message ended, once it has."""
        return self._stream.stop_reason

    @property
    def generation_id(self) -> str | None:
        """The upstream's own id of the answer."""
        return self._stream.generation_id

    def feed(self, data: bytes) -> bytes:
        """Take the upstream's next bytes and give what they say."""
        if self._error is not None:
            raise self._error
        return self._translate(self._decoder.feed(data))

    def finish(self) -> bytes:
        """Give the end of the message when the upstream's bytes end; raises UpstreamFailed if it was cut."""
        if self._error is not None:
            raise self._error
        out = self._translate(self._decoder.flush(), cut=True)
        if self._error is not None or self._done:
            return out
        self._done = True
        return out + b"".join(self._write(self._stream.finish(), None))

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the `error` event that ends the stream instead of `message_stop`."""
        self.failed = True
        return encode_event(error_body(error, request_id))

    def _write(self, events: list[Event], _chunk: Json | None) -> Iterable[bytes]:
        """Write the events that a chunk, or the stream's end, came to."""
        return map(encode_event, events)

    def _translate(self, frames: list[Frame], *, cut: bool = False) -> bytes:
        out: list[bytes] = []
        try:
            for event, data in frames:
                if self._done:
                    break
                if data == b"[DONE]":
                    self._done = True
                    out.extend(self._write(self._stream.finish(done=True), None))
                    break
                if (chunk := read_chunk(event, data, cut=cut)) is not None:
                    out.extend(self._write(self._stream.feed(chunk), chunk))
        except GatewayError as error:
            self.failed = True
            self._error = error
            if not out:
                raise
        return b"".join(out)


def read_chunk(event: str | None, data: bytes, *, cut: bool = False) -> Json | None:
    """Parse a frame; None if it says nothing, or if it is the cut last one.

    An `error` event gives an object with an `error`. What is no JSON object is UpstreamFailed.
    """
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        if not data.strip():
            return None
        chunk = _parsed_leniently(data, cut=cut)
    if not isinstance(chunk, dict):
        if chunk is None:
            return None
        raise UpstreamFailed("the upstream sent an event that is no JSON object")
    if event == "error" and "error" not in chunk:
        return {"error": chunk}
    return chunk


def _parsed_leniently(data: bytes, *, cut: bool) -> Any:
    """Parse what orjson refuses: NaN, and halves of a surrogate pair, which become U+FFFD."""
    try:
        parsed = json.loads(data, parse_constant=lambda _: None)
        plain = json.dumps(parsed, ensure_ascii=False).encode("utf-16", "surrogatepass")
        return orjson.loads(plain.decode("utf-16", "replace"))
    except (ValueError, RecursionError) as error:
        if cut:
            return None
        raise UpstreamFailed("the upstream sent an event that is no JSON") from error
