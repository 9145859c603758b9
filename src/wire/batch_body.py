"""The body of a batch being made, `{"requests": [{"custom_id", "params"}, …]}`, read as it comes.

Up to 256 MB arrive in pieces of any size. What is held of them is one request and one piece. Where a request
ends is guessed first: before the next thing that begins as the first request did. Otherwise a scanner that
skips strings and counts braces finds it. Neither is believed: msgspec checks what lies between, without
building it, and what begins a valid object has only one end. `params` leave as the client wrote them.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

import msgspec
import orjson

from wire.body import json_type
from wire.errors import InvalidRequest, RequestTooLarge

MOST_BYTES = 256 * 1024 * 1024
"""Bytes that the body of a batch may have."""

MOST_REQUESTS = 100_000
"""Requests that a batch may have."""

MOST_EACH = 32 * 1024 * 1024
"""Bytes that one request of a batch may have: what the Messages API takes."""

_MOST_KEY = 200
_MOST_LUCK = 8
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SPACE = re.compile(rb"[ \t\n\r]*+")
_KEY = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BEGINNING = re.compile(rb'\{[ \t\n\r]*+"[^"\\]{1,200}+"')
_BETWEEN = re.compile(rb"[ \t\n\r]*+,[ \t\n\r]*+\{")
# Up to the next brace that is not in a string, or before a string whose end is not here yet. Only for text
# without escapes: sets of characters are ten times slower than a single one.
_TO_BRACE = re.compile(rb'[^"{}]*+(?:"[^"]*+"[^"{}]*+)*+')
_WHITE = b" \t\n\r"
_OF_THE_TYPE: dict[bytes, object] = {b"n": None, b"t": True, b"f": False, b'"': "", b"[": []}
_OPEN, _CLOSE, _QUOTE = b'{}"'


class BatchRequest(NamedTuple):
    """One request of a batch; `params` is its Messages body as the client wrote it."""

    custom_id: str
    params: bytes


class _Read(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: msgspec.Raw


_read = msgspec.json.Decoder(_Read).decode


class BatchBody:
    """Takes the body piece by piece and gives its requests as they become whole.

    After an error it is of no more use. `size` and `count` are the bytes taken and the requests given.
    """

    def __init__(
        self, *, most_bytes: int = MOST_BYTES, most_requests: int = MOST_REQUESTS, most_each: int = MOST_EACH
    ) -> None:
        self.size = 0
        self.count = 0
        self._most_bytes = most_bytes
        self._most_requests = most_requests
        self._most_each = most_each
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._cut = False  # whether a character of more than one byte may be half read
        self._buffer = bytearray()
        self._gone = 0  # bytes of the body before the buffer
        self._at = 0  # in the buffer: what is before it has been looked at
        self._next = "{"  # what must come: one of { key : [ first request inside after rest end
        self._start = 0  # in the buffer: where the request begins
        self._depth = 0  # braces open within the request
        self._quoted = False  # whether `_at` is in a string
        self._beginning = b""  # how the first request begins, up to the end of its first key
        self._luck = 0  # how often in a row the guess may fail before it is given up
        self._plain = b""  # the last piece, with escaped quotes and backslashes blotted out
        self._plain_at = 0  # in the buffer: where that piece begins
        self._escaped = False  # whether its last character is a backslash that escapes what comes next

    def feed(self, piece: bytes) -> list[BatchRequest]:
        """Take the next bytes and give the requests that they complete.

        Raises InvalidRequest, which names the place (`requests.17.custom_id: …`), or RequestTooLarge.
        """
        self.size += len(piece)
        if self.size > self._most_bytes:
            raise too_large(self._most_bytes)
        self._check_text(piece)
        self._plain_at = len(self._buffer)
        self._blot_out(piece)
        self._buffer += piece
        found: list[BatchRequest] = []
        while self._advance(found):
            pass
        self._forget()
        return found

    def close(self) -> int:
        """Say that the body is over and give the number of requests; InvalidRequest if it is cut short."""
        if self._next != "end":
            told = "is empty" if not self.size else f"ends too early, after byte {self.size}"
            raise InvalidRequest(f'body: {told}; it must be {{"requests": […]}}')
        return self.count

    def _check_text(self, piece: bytes) -> None:
        if not self._cut and piece.isascii():
            return
        try:
            self._utf8.decode(piece)
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"body: not valid UTF-8: {error.reason}") from None
        self._cut = bool(self._utf8.getstate()[0])

    def _forget(self) -> None:
        """Drop what has been given; keep the request that is not whole, if it may still become one."""
        begun = self._start if self._next == "inside" else self._at
        if len(self._buffer) - begun > self._most_each and self._next == "inside":
            raise self._item_too_large()
        del self._buffer[:begun]
        self._gone += begun
        self._at -= begun
        self._start = 0

    # ---- around the requests

    def _advance(self, found: list[BatchRequest]) -> bool:
        """Take one step; False if more of the body is needed."""
        if self._next == "inside":
            return self._read_requests(found)
        space = _SPACE.match(self._buffer, self._at)
        assert space is not None  # noqa: S101 - it matches nothing, too
        self._at = space.end()
        if self._at == len(self._buffer):
            return False
        if self._next == "key":
            return self._read_key()
        self._take(chr(self._buffer[self._at]))
        return True

    def _take(self, sign: str) -> None:
        """Take one character of the frame that the requests stand in."""
        match self._next, sign:
            case "{", "{":
                self._next = "key"
            case ":", ":":
                self._next = "["
            case "[", "[":
                self._next = "first"
            case "first" | "request", "{":
                self._begin_request(self._at)
                return
            case "after", ",":
                self._next = "request"
            case "after", "]":
                self._next = "rest"
            case "rest", "}":
                self._next = "end"
            case "rest", ",":
                self._next = "key"
            case _:
                raise self._misplaced(sign)
        self._at += 1

    def _misplaced(self, sign: str) -> InvalidRequest:
        is_value = sign in '{["-0123456789tfn'
        match self._next:
            case "{" if is_value:
                return InvalidRequest("body: must be a JSON object")
            case "[" if is_value:
                return InvalidRequest("requests: must be a list")
            case "first" if sign == "]":
                return InvalidRequest("requests: must hold at least one request")
            case "first" | "request" if is_value:
                return InvalidRequest(f"requests.{self.count}: must be an object")
        place = f"after requests.{self.count - 1}, " if self.count else ""
        return InvalidRequest(f"body: not valid JSON: {place}at byte {self._gone + self._at}")

    def _read_key(self) -> bool:
        if self._buffer[self._at] == _CLOSE and not self.count:
            raise InvalidRequest("requests: must be given")
        key = _KEY.match(self._buffer, self._at)
        if key is None:
            if self._buffer[self._at] != _QUOTE:
                raise self._misplaced("")
            if len(self._buffer) - self._at > _MOST_KEY:
                raise InvalidRequest("body: has a field whose name is too long; only requests is known")
            return False
        try:
            name = str(orjson.loads(key.group()))
        except orjson.JSONDecodeError:
            raise self._misplaced("") from None
        if name != "requests":
            raise InvalidRequest(f"{name[:_MOST_KEY]}: is not a field of a batch; only requests is")
        if self.count:
            raise InvalidRequest("requests: is given twice")
        self._at = key.end()
        self._next = ":"
        return True

    # ---- the requests

    def _begin_request(self, start: int) -> None:
        if self.count == self._most_requests:
            raise InvalidRequest(f"requests: must hold at most {self._most_requests:,} requests")
        self._start = start
        self._at = start + 1
        self._depth = 1
        self._quoted = False
        self._next = "inside"

    def _read_requests(self, found: list[BatchRequest]) -> bool:
        """Read one request, and on while the next one follows; False if more of the body is needed."""
        while True:
            self._guess(found)
            if not self._find_end():
                return False
            found.append(self._read_one())
            self.count += 1
            between = _BETWEEN.match(self._buffer, self._at)
            if between is None:
                self._next = "after"
                return True
            self._begin_request(between.end() - 1)

    def _guess(self, found: list[BatchRequest]) -> None:
        """Read requests as long as each ends before the next one's likely beginning; then see `_find_end`."""
        start, find = self._start, self._buffer.find
        if self._at != start + 1 or not self._luck:
            return
        while 0 < (following := find(self._beginning, start + 1)) <= start + self._most_each:
            raw = bytes(memoryview(self._buffer)[start:following]).rstrip(_WHITE)
            if not raw.endswith(b","):
                return
            try:
                read = _read(raw[:-1])
            except (msgspec.MsgspecError, RecursionError):
                return
            found.append(self._checked(read))
            self.count += 1
            self._luck = _MOST_LUCK
            self._begin_request(following)
            start = following

    def _find_end(self) -> bool:
        """Go on to the end of the request; False if it is not here yet."""
        plain, at, depth = self._plain, self._at - self._plain_at, self._depth
        size = len(plain)
        to_brace = _TO_BRACE.match
        while depth:
            if self._quoted:
                at = plain.find(b'"', at) + 1
                if not at:
                    at = size
                    break
                self._quoted = False
            at = to_brace(plain, at).end()  # type: ignore[union-attr] # it matches nothing, too
            if at == size:
                break
            sign = plain[at]
            at += 1
            if sign == _OPEN:
                depth += 1
            elif sign == _CLOSE:
                depth -= 1
            else:
                self._quoted = True
        self._at, self._depth = at + self._plain_at, depth
        return depth == 0

    def _blot_out(self, piece: bytes) -> None:
        """Keep a copy of the piece in which every quote ends or begins a string."""
        if self._escaped and piece:
            piece = b"_" + piece[1:]
            self._escaped = False
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"__").replace(b'\\"', b"__")
            self._escaped = piece.endswith(b"\\")
        self._plain = piece

    def _read_one(self) -> BatchRequest:
        raw = bytes(memoryview(self._buffer)[self._start : self._at])
        if len(raw) > self._most_each:
            raise self._item_too_large()
        try:
            read = _read(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self._refusal(raw, error) from None
        if not self._beginning and (begins := _BEGINNING.match(raw)):
            self._beginning, self._luck = begins.group(), _MOST_LUCK
        elif self._luck and self._start >= self._plain_at:
            self._luck -= 1  # it was here whole, and was not guessed
        return self._checked(read)

    def _checked(self, read: _Read) -> BatchRequest:
        params = bytes(read.params)
        if not _CUSTOM_ID.fullmatch(read.custom_id):
            raise InvalidRequest(
                f"requests.{self.count}.custom_id: must be 1 to 64 letters, digits, hyphens or underscores"
            )
        if params[:1] != b"{":
            told = json_type(_OF_THE_TYPE.get(params[:1], 0))
            raise InvalidRequest(f"requests.{self.count}.params: must be an object, not {told}")
        return BatchRequest(read.custom_id, params)

    def _refusal(self, raw: bytes, error: Exception) -> InvalidRequest:
        """Say what is wrong with a request that msgspec did not take."""
        where = f"requests.{self.count}"
        fields: dict[str, msgspec.Raw] = {}
        if isinstance(error, msgspec.ValidationError):
            try:  # a wrong field was met first; what comes after it may not even be JSON
                fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            except (msgspec.MsgspecError, RecursionError) as behind:
                error = behind
        if isinstance(error, RecursionError):
            return InvalidRequest(f"{where}: nested too deeply")
        if not isinstance(error, msgspec.ValidationError):
            start = self._gone + self._start
            return InvalidRequest(f"{where}: not valid JSON, counted from byte {start} of the body: {error}")
        for name in ("custom_id", "params"):
            if name not in fields:
                return InvalidRequest(f"{where}.{name}: must be given")
        for name in fields:
            if name not in ("custom_id", "params"):
                return InvalidRequest(f"{where}.{name[:_MOST_KEY]}: is not a field of a request in a batch")
        return InvalidRequest(f"{where}.custom_id: must be a string")

    def _item_too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"requests.{self.count}: exceeds {_megabytes(self._most_each)}")


def too_large(most: int = MOST_BYTES) -> RequestTooLarge:
    """Give the refusal of a body with more bytes than `most`."""
    return RequestTooLarge(f"the batch exceeds {_megabytes(most)}; make several of it")


def _megabytes(size: int) -> str:
    return f"{size / (1024 * 1024):g} MB"
