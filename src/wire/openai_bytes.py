"""The two streams that an OpenAI client can get: an Anthropic one translated, and a chat one relayed.

Both have the interface of `ChatBytes`: whole frames out, nothing before the upstream said something real, and
an error that comes after something to send is kept until that is sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from wire.chat_bytes import read_chunk
from wire.chat_ending import cost_of, stop_of, usage_of
from wire.errors import UpstreamFailed
from wire.openai_chat import choices_of, error_in
from wire.openai_errors import encode_error
from wire.openai_stream import OpenAIStream
from wire.sse import FrameBuffer, frames_of
from wire.upstream_errors import from_chat_error, from_status

if TYPE_CHECKING:
    from wire.answer import AnswerContext
    from wire.chat_bytes import ChatBytes
    from wire.errors import GatewayError
    from wire.messages import Json
    from wire.openai_stream import OpenAIShape

DONE = b"data: [DONE]\n\n"
_ODD = "the upstream sent something whose form is not its API's"

_telling = re.compile(
    rb'"(?:finish_reason"\s*:\s*"|usage"\s*:\s*\{|error"\s*:)|\[DONE\]|^event:', re.MULTILINE
).search
"""What stands in the few frames of a chat stream that the relay reads. Within text, quotes are escaped, so
that text can hold none of this but `[DONE]`, which is then looked at in vain."""


class OpenAIBytes:
    """What both have in common: frames, errors that wait, and the end."""

    __slots__ = ("_buffer", "_ended", "_error", "_whose_key", "cost", "failed", "generation_id", "started",
                 "stop_reason", "usage")  # fmt: skip

    def __init__(self, context: AnswerContext) -> None:
        self.started = False
        self.failed = False
        self.usage: Json | None = None
        self.cost: float | None = None
        self.stop_reason: str | None = None
        self.generation_id: str | None = None
        self._whose_key = context.whose_key
        self._buffer = FrameBuffer()
        self._ended = False
        self._error: GatewayError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the upstream's next bytes and give what they say."""
        if self._error is not None:
            raise self._error
        whole = self._buffer.feed(data)
        return self._read(whole) if whole and not self._ended else b""

    def finish(self) -> bytes:
        """Give the end of the answer when the upstream's bytes end; raises UpstreamFailed if it was cut."""
        if self._error is not None:
            raise self._error
        rest = self._buffer.rest().rstrip(b"\n")
        out = self._read(rest + b"\n\n", cut=True) if rest and not self._ended else b""
        if not self._ended and not self.failed:
            if self.stop_reason is not None:
                return out + self._end()
            where = "before its answer was complete" if self.started else "before its answer began"
            self._keep(
                UpstreamFailed(f"the upstream ended the stream {where}", retryable=not self.started), out
            )
        return out if self._error is None else out + encode_error(self._error)

    def fail(self, error: GatewayError, request_id: str) -> bytes:  # noqa: ARG002  (the header names it)
        """Give the error that ends the stream instead of `[DONE]`."""
        self.failed = True
        return encode_error(error)

    def _read(self, text: bytes, *, cut: bool = False) -> bytes:
        """Take whole frames; raises UpstreamFailed for what has another form than the API's."""
        try:
            return self._take(text, cut=cut)
        except (KeyError, TypeError, AttributeError):
            raise UpstreamFailed(_ODD, retryable=not self.started) from None

    def _take(self, text: bytes, *, cut: bool = False) -> bytes:
        """Give what whole frames say; `cut` says that the last one may not be whole."""
        raise NotImplementedError

    def _end(self) -> bytes:
        """End the answer where the upstream did without saying so."""
        self._ended = True
        return DONE

    def _keep(self, error: GatewayError, out: bytes) -> None:
        """Raise the error, unless something is to be sent before it."""
        self.failed = True
        self._error = error
        if not out:
            raise error


class MessagesToOpenAI(OpenAIBytes):
    """Anthropic SSE bytes in, OpenAI SSE bytes out."""

    __slots__ = ("_stream",)

    def __init__(self, context: AnswerContext, shape: OpenAIShape) -> None:
        super().__init__(context)
        self._stream = OpenAIStream(shape)

    def _take(self, text: bytes, *, cut: bool = False) -> bytes:
        out: list[bytes] = []
        for frame in frames_of(text):
            event = read_chunk(frame.event, frame.data, cut=cut) or {}
            if "error" in event:
                self._keep(
                    from_status(200, frame.data, {}, wire="messages", whose_key=self._whose_key),
                    b"".join(out),
                )
                break
            if not self.started and not self._begins(event):
                continue
            out += map(_frame, self._stream.feed(event))
            self._note(event)
            if self._ended:
                out.append(DONE)
                break
        return b"".join(out)

    def _begins(self, event: Json) -> bool:
        kind = event.get("type")
        if kind in {None, "ping"}:
            return False
        if kind != "message_start" or not isinstance(event.get("message"), dict):
            raise UpstreamFailed("the upstream's stream did not begin with message_start", retryable=True)
        self.started = True
        self.generation_id = event["message"].get("id")
        return True

    def _note(self, event: Json) -> None:
        match event.get("type"):
            case "message_start" | "message_delta":
                usage = {**self._stream.usage}
                self.cost = cost_of(usage)
                usage.pop("cost", None)
                self.usage = usage or None
                self.stop_reason = self._stream.stop_reason
            case "message_stop":
                self._ended = True

    def _end(self) -> bytes:
        return b"".join(map(_frame, self._stream.feed({"type": "message_stop"}))) + super()._end()


class Chained:
    """A chat stream's bytes by way of Anthropic's: for backends whose chat is in a form of their own."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: ChatBytes, second: MessagesToOpenAI) -> None:
        self._first = first
        self._second = second

    @property
    def started(self) -> bool:
        """Whether something real was received."""
        return self._second.started

    @property
    def failed(self) -> bool:
        """Whether an error came, or waits to be raised."""
        return self._first.failed or self._second.failed

    @property
    def usage(self) -> Json | None:
        """The upstream's true usage, in Anthropic's words."""
        return self._first.usage

    @property
    def cost(self) -> float | None:
        """The dollars the answer cost, if the upstream says."""
        return self._first.cost

    @property
    def stop_reason(self) -> str | None:
        """Why the message ended, once it has."""
        return self._first.stop_reason

    @property
    def generation_id(self) -> str | None:
        """The upstream's own id of the answer."""
        return self._first.generation_id

    def feed(self, data: bytes) -> bytes:
        """Take the upstream's next bytes and give what they say."""
        return self._second.feed(self._first.feed(data))

    def finish(self) -> bytes:
        """Give the end of the answer when the upstream's bytes end; raises UpstreamFailed if it was cut."""
        return self._second.feed(self._first.finish()) + self._second.finish()

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the error that ends the stream instead of `[DONE]`."""
        self._first.failed = True
        return self._second.fail(error, request_id)


class OpenAIRelay(OpenAIBytes):
    """Chat SSE bytes in, the same out, with the client's name for the model.

    Only telling frames are parsed. In the others the name is replaced as bytes: `"model":"…"` with its bare
    quotes can stand in no text.
    """

    __slots__ = ("_held", "_model", "_needles", "_usage_wanted")

    def __init__(self, context: AnswerContext, shape: OpenAIShape) -> None:
        super().__init__(context)
        self._model = orjson.dumps(shape.model)
        self._usage_wanted = shape.include_usage
        self._held: list[bytes] = []  # frames that say nothing yet: an error may still follow
        self._needles: dict[bytes, bytes] = {}

    def _take(self, text: bytes, *, cut: bool = False) -> bytes:
        if self.started and not cut and _telling(text) is None:
            return self._renamed(text)
        out: list[bytes] = []
        for lines in text.split(b"\n\n"):
            if self._ended or self.failed:
                break
            self._take_frame(lines, out, cut=cut)
        return b"".join(out)

    def _take_frame(self, lines: bytes, out: list[bytes], *, cut: bool) -> None:
        frames = frames_of(lines)
        if not frames:  # a comment: it keeps the connection alive
            if lines and self.started and not cut:
                out.append(lines + b"\n\n")
            return
        event, data = frames[0]
        if data == b"[DONE]":
            self._take_done(out)
            return
        chunk = read_chunk(event, data, cut=cut)
        if not chunk:
            return
        if error := error_in(chunk):
            self._keep(from_chat_error(error, whose_key=self._whose_key), b"".join(out))
            return
        self._note(chunk)
        if chunk.get("usage") and not chunk.get("choices") and not self._usage_wanted:
            return  # we asked for it, the client did not, and many fail on a chunk without a choice
        self._learn(chunk.get("model"))
        self._held.append(self._renamed(lines) + b"\n\n")
        self.started = self.started or _says_something(chunk)
        if self.started:
            out += self._held
            self._held.clear()

    def _take_done(self, out: list[bytes]) -> None:
        if not self.started and not self._held:
            raise UpstreamFailed("the upstream ended the stream before its answer began", retryable=True)
        self.started = True
        self._ended = True
        out += [*self._held, DONE]
        self._held.clear()

    def _note(self, chunk: Json) -> None:
        if self.generation_id is None and isinstance(chunk.get("id"), str):
            self.generation_id = chunk["id"]
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = usage_of(usage)
            self.cost = cost_of(usage)
        for choice in choices_of(chunk):
            if reason := choice.get("finish_reason"):
                tools = reason in {"tool_calls", "function_call"}
                self.stop_reason, _ = stop_of(choice, (), tools=tools, refused=False)

    def _learn(self, name: Any) -> None:
        """Learn how the upstream writes its name for the model, with and without a space."""
        if isinstance(name, str):
            for colon in (b":", b": "):
                self._needles[b'"model"%b%b' % (colon, orjson.dumps(name))] = b'"model"%b%b' % (
                    colon,
                    self._model,
                )

    def _renamed(self, text: bytes) -> bytes:
        for needle, name in self._needles.items():
            text = text.replace(needle, name)
        return text


def _says_something(chunk: Json) -> bool:
    """Tell whether the chunk is more than the bare role with which most answers begin."""
    for choice in choices_of(chunk):
        delta = choice.get("delta") or {}
        if choice.get("finish_reason") or any(value for name, value in delta.items() if name != "role"):
            return True
    return False


def _frame(chunk: Json) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(chunk)
