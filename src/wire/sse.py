"""Server-sent events: bytes in, frames out, and Anthropic events back to bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

from wire.errors import UpstreamFailed

if TYPE_CHECKING:
    from wire.messages import Event

LARGEST_FRAME = 64 * 1024 * 1024
"""Bytes an unfinished frame may grow to: an upstream that never ends one must not fill the memory."""

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
COMMENT = b": ping\n\n"
"""A ping for clients that know no event of that name: a line that every reader of SSE skips."""

_BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event of a stream: its `event:` name, and its `data:` lines joined."""

    event: str | None
    data: bytes


_new = tuple.__new__  # what `Frame(…)` comes down to, at a third of its cost


class FrameBuffer:
    """Turns bytes, cut anywhere, into bytes that end where a frame does.

    Lines may end in LF, CRLF or CR; they leave with LF. A byte order mark is dropped.
    """

    __slots__ = ("_after_cr", "_at_start", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # an unfinished frame; joined only when a line ends, or it is quadratic
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and give the frames that they finish, blank lines included."""
        if self._after_cr or b"\r" in data:
            data = self._normalised(data)
        if not self._size and not self._at_start and data.endswith(b"\n\n"):
            return data  # whole frames in one read, as they mostly come
        if b"\n" not in data:
            self._keep(data)
            return b""
        if self._parts:
            data = self.rest() + data
        if self._at_start:
            self._at_start = False
            data = data.removeprefix(_BOM)
        end = data.rfind(b"\n\n") + 2
        if end == len(data):
            return data
        if end < 2:
            self._keep(data)
            return b""
        self._keep(data[end:])
        return data[:end]

    def rest(self) -> bytes:
        """Take out the unfinished frame."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return rest

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > LARGEST_FRAME:
            raise UpstreamFailed(f"the upstream sent an event of more than {LARGEST_FRAME} bytes")

    def _normalised(self, data: bytes) -> bytes:
        """Make every line end in LF; a CR and its LF may lie in two reads."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class SseDecoder:
    """Turns bytes, cut anywhere, into frames; comments and frames without data are skipped."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = FrameBuffer()

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes and give the frames that they finish."""
        whole = self._buffer.feed(data)
        return frames_of(whole) if whole else []

    def flush(self) -> list[Frame]:
        """Give what is left when the stream ends: upstreams exist that omit the last blank line."""
        return frames_of(self._buffer.rest())


def encode_event(event: Event) -> bytes:
    """Write one Anthropic event as an SSE frame."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


def frames_of(text: bytes) -> list[Frame]:
    """Read the frames of a text whose lines end in LF."""
    frames = []
    for lines in text.split(b"\n\n"):
        if lines.startswith(b"data: ") and b"\n" not in lines:
            frames.append(_new(Frame, (None, lines[6:])))
        elif lines and (frame := _frame(lines)) is not None:
            frames.append(frame)
    return frames


def _frame(lines: bytes) -> Frame | None:
    """Read the lines of one frame; None if it has no data."""
    event = None
    data: list[bytes] = []
    for line in lines.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            event = value.decode("utf-8", "replace")
    return Frame(event, b"\n".join(data)) if data else None
