"""An Anthropic stream's bytes, relayed with the client's name for the model.

Frames pass as they came; only `message_start` is rewritten. What the relay wants to know stands in the first
and the last frames, so that deltas are never parsed, and reads of many deltas are searched, not split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wire.errors import KeyRefused, PromptTooLong, UpstreamFailed, error_body
from wire.sse import FrameBuffer, encode_event, frames_of
from wire.upstream_errors import from_status, masked

if TYPE_CHECKING:
    from wire.errors import GatewayError
    from wire.messages import Json
    from wire.sse import Frame


class MessagesBytes:
    """Anthropic SSE bytes in, the same out, whole frames only; the interface of `ChatBytes`.

    What comes before `message_start` (comments, pings) is dropped: until then the answer may still become
    an HTTP error. An `error` event that comes first is raised; a later one passes, sets `failed`, and is
    kept as `error`. It is told anew only where an HTTP error would be (`wire.upstream_errors.from_status`).
    """

    __slots__ = (
        "_buffer",
        "_ended",
        "_model",
        "_whose_key",
        "cost",
        "error",
        "failed",
        "generation_id",
        "started",
        "stop_reason",
        "usage",
    )

    def __init__(self, model: str, whose_key: str = "the upstream key") -> None:
        self.started = False
        self.failed = False
        self.error: GatewayError | None = None
        self.usage: Json | None = None
        self.cost: float | None = None
        self.stop_reason: str | None = None
        self.generation_id: str | None = None
        self._model = model
        self._whose_key = whose_key
        self._buffer = FrameBuffer()
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        """Take the upstream's next bytes and give the whole frames in them."""
        whole = self._buffer.feed(data)
        return self._relay(whole) if whole else b""

    def finish(self) -> bytes:
        """Take the end of the upstream's bytes; raises UpstreamFailed if the message has none."""
        rest = self._buffer.rest()
        out = self._relay(rest.rstrip(b"\n") + b"\n\n") if _is_whole(rest) else b""
        if self._ended or self.failed:
            return out
        where = "before its answer was complete" if self.started else "before its answer began"
        raise UpstreamFailed(f"the upstream ended the stream {where}", retryable=not self.started)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the `error` event that ends the stream instead of `message_stop`."""
        self.failed = True
        return encode_event(error_body(error, request_id))

    def _relay(self, text: bytes) -> bytes:
        begun = b""
        while not self.started:
            frame, _, text = text.partition(b"\n\n")
            if not text and not frame:
                return b""
            for read in frames_of(frame):
                begun = self._begin(read, frame)
        if b"message_delta" in text or b"message_stop" in text or b"error" in text:
            text = self._read(text)  # a read without these words, so nearly every one, passes unseen
        return begun + text if begun else text

    def _begin(self, frame: Frame, text: bytes) -> bytes:
        """Take a frame that comes before the message does, and the message's start."""
        event = _parsed(frame.data)
        match event.get("type"):
            case "message_start" if isinstance(event.get("message"), dict):
                return self._start(event, text)
            case "ping":
                return b""
            case "error":
                raise self._error_in(frame)
            case _:
                raise UpstreamFailed("the upstream's stream did not begin with message_start", retryable=True)

    def _start(self, event: Json, text: bytes) -> bytes:
        self.started = True
        message = event["message"]
        self.generation_id = message.get("id")
        self._take_usage(message.get("usage"))
        if message.get("model") == self._model:
            return text + b"\n\n"
        return encode_event({**event, "message": {**message, "model": self._model}})

    def _read(self, text: bytes) -> bytes:
        """Look at the frames of a read that holds one of the telling words; give the read as it goes on."""
        for frame in frames_of(text):
            kind = frame.event or _parsed(frame.data).get("type")
            if kind == "message_delta":
                event = _parsed(frame.data)
                delta = event.get("delta")
                self.stop_reason = delta.get("stop_reason") if isinstance(delta, dict) else None
                self._take_usage(event.get("usage"))
            elif kind == "message_stop":
                self._ended = True
            elif kind == "error":
                self.failed = True
                self.error = self._error_in(frame)
                text = text.replace(frame.data, _told(self.error, frame.data))
        return text

    def _error_in(self, frame: Frame) -> GatewayError:
        return from_status(200, frame.data, {}, wire="messages", whose_key=self._whose_key)

    def _take_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        told = {name: value for name, value in usage.items() if value is not None}
        cost = told.pop("cost", None)
        if isinstance(cost, (int, float)):
            self.cost = float(cost)
        self.usage = {**(self.usage or {}), **told}


def _told(error: GatewayError, data: bytes) -> bytes:
    """Give an `error` event's data for the client: as it came, but for what it must hear in our words.

    Those are a prompt that is too long, where Claude Code would not know it, and a refusal of our key.
    """
    if isinstance(error, PromptTooLong | KeyRefused) and error.verbatim is None:
        said = {"type": error.type, "message": error.message}
        return orjson.dumps(_parsed(data) | {"type": "error", "error": said})
    return masked(data.decode("utf-8", "replace")).encode()


def _is_whole(rest: bytes) -> bool:
    """Say whether a last frame without its blank line is a frame nevertheless."""
    return any(_parsed(frame.data) for frame in frames_of(rest))


def _parsed(data: bytes) -> Json:
    """Give the event, or {} for what is none: it passes, the client may know more."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}
