"""Files of batch requests: Anthropic's lines, OpenAI's lines, or one JSON object with a list of requests.

A file is read twice: `survey` says what is in it and names everything that is wrong; `elements` gives its
requests as they are sent. Neither holds more than one request at a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import msgspec
import orjson

from wire.batch_body import MOST_BYTES, MOST_EACH, MOST_REQUESTS, BatchBody
from wire.errors import GatewayError, InvalidRequest
from wire.openai_request import from_openai

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Json

MOST_TOLD = 20

BatchForm: TypeAlias = Literal["anthropic", "openai"]

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_WHOLE = re.compile(rb'\s*\{\s*"requests"\s*:')
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
_HEAD = 4096
_PIECE = 256 * 1024
_OPENAI_URL = "/v1/chat/completions"
_OPENING, _CLOSING = b'{"requests":[', b"]}"
_TOO_DEEP = "is nested too deeply"
_WHOLE_ONLY = "stream: a batch's requests are answered whole; leave it out, or false"
_SAID = {"anthropic": "an Anthropic request", "openai": "an OpenAI request"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `where` is its place (`line 3`, `requests.2`), `params` its Messages body as JSON."""

    where: str
    custom_id: str
    params: bytes

    @property
    def element(self) -> bytes:
        """Give it as it stands in the list that is sent."""
        return b'{"custom_id":"%b","params":%b}' % (self.custom_id.encode(), self.params)


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong, and where; an empty `where` is the file as a whole."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}" if self.where else self.why


EMPTY = Wrong("", "there is no request in it")


@dataclass(slots=True)
class Survey:
    """What a file holds. `bytes` is the size of the body that it makes; `wrong` has the first faults."""

    form: BatchForm = "anthropic"
    requests: int = 0
    bytes: int = len(_OPENING) + len(_CLOSING)
    wrong: list[Wrong] = field(default_factory=list)
    faults: int = 0

    def note(self, wrong: Wrong) -> None:
        """Count a fault, and keep it if it is one of the first."""
        self.faults += 1
        if len(self.wrong) < MOST_TOLD:
            self.wrong.append(wrong)


def survey(file: BinaryIO, model: str | None = None) -> Survey:
    """Read a seekable file from its beginning and say what is in it and what is wrong with it.

    `model` is put in the place of every request's own.
    """
    found = Survey()
    reader = _Reader(file, model)
    for one in reader.read():
        if isinstance(one, Wrong):
            found.note(one)
            continue
        found.requests += 1
        found.bytes += len(one.element) + (found.requests > 1)
        if found.requests > MOST_REQUESTS:
            found.note(Wrong(one.where, f"more than {MOST_REQUESTS:,} requests, the most of one batch"))
            break
        if found.bytes > MOST_BYTES:
            found.note(Wrong(one.where, f"here the {MOST_BYTES:,} bytes end that one batch may have"))
            break
    found.form = reader.form or "anthropic"
    if not found.requests and not found.faults:
        found.note(EMPTY)
    return found


def requests_of(file: BinaryIO, model: str | None = None) -> Iterator[Request]:
    """Give the requests of a file in which `survey` found nothing wrong; raises InvalidRequest otherwise."""
    for one in _Reader(file, model).read():
        if isinstance(one, Wrong):
            raise InvalidRequest(str(one))
        yield one


def body_of(file: BinaryIO, model: str | None = None) -> Iterator[bytes]:
    """Give the body that makes a batch of the file, in pieces of a quarter of a megabyte or one request."""
    piece = bytearray(_OPENING)
    for number, request in enumerate(requests_of(file, model)):
        if number:
            piece += b","
        piece += request.element
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + _CLOSING)


class _Reader:
    """Reads one file once. `form` is known with the first request."""

    def __init__(self, file: BinaryIO, model: str | None) -> None:
        self.form: BatchForm | None = None
        self._file = file
        self._model = model
        self._places: dict[str, str] = {}
        self._first = ""

    def read(self) -> Iterator[Request | Wrong]:
        self._file.seek(0)
        head = self._file.read(_HEAD)
        start = len(_BOM) if head.startswith(_BOM) else 0
        self._file.seek(start)
        if head.startswith(_OTHER_BOMS):
            yield Wrong("line 1", "begins with the mark of UTF-16: save the file as UTF-8")
        elif _WHOLE.match(head, start):
            yield from self._whole()
        elif head[start:].lstrip().startswith(b"["):
            yield Wrong("line 1", 'is a JSON array: write {"requests": […]}, or one request a line')
        else:
            for number, line in enumerate(_lines(self._file), 1):
                if line is None:
                    yield Wrong(f"line {number}", f"is longer than {MOST_EACH:,} bytes")
                elif text := line.strip():
                    yield self._one(f"line {number}", text)

    def _whole(self) -> Iterator[Request | Wrong]:
        """Read a file that is the body of a batch already; reading ends with the first fault of its form."""
        self.form, body, number = "anthropic", BatchBody(), 0
        try:
            while piece := self._file.read(_PIECE):
                for request in body.feed(piece):
                    yield self._named(f"requests.{number}", request.custom_id, request.params)
                    number += 1
            body.close()
        except GatewayError as error:
            yield Wrong("", error.message)

    def _named(self, where: str, custom_id: str, params: bytes) -> Request | Wrong:
        before = self._places.setdefault(custom_id, where)
        if before != where:
            return Wrong(where, f"custom_id {custom_id!r} was {before}'s already")
        try:
            return Request(where, custom_id, self._checked(params))
        except InvalidRequest as error:
            return Wrong(where, error.message)

    def _one(self, where: str, text: bytes) -> Request | Wrong:
        try:
            told = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            if "limit" in error.msg:
                return Wrong(where, _TOO_DEEP)
            return Wrong(where, f"is no valid JSON: {error.msg} at character {error.colno}")
        if not isinstance(told, dict):
            return Wrong(where, "is no JSON object with `custom_id` and `params`")
        try:
            return self._request(where, told, text)
        except RecursionError:
            return Wrong(where, _TOO_DEEP)

    def _request(self, where: str, told: Json, text: bytes) -> Request | Wrong:
        form: BatchForm = "openai" if "body" in told and "params" not in told else "anthropic"
        if self.form is None:
            self.form, self._first = form, where
        if form != self.form and (form == "openai" or "params" in told):
            return Wrong(where, f"is {_SAID[form]}, and {self._first} is {_SAID[self.form]}: one form a file")
        if "custom_id" not in told:
            return Wrong(where, "has no custom_id")
        try:
            custom_id = self._custom_id(told["custom_id"])
            params = _converted(told, self._model) if self.form == "openai" else _params(told, text)
        except InvalidRequest as error:
            return Wrong(where, error.message)
        return self._named(where, custom_id, params)

    def _custom_id(self, told: Any) -> str:
        if isinstance(told, str) and _CUSTOM_ID.fullmatch(told):
            return told
        shown = _dumped(told).decode()
        shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
        rule = "must be 1 to 64 letters, digits, _ or -"
        if self.form == "openai":
            rule += ": Anthropic's rule, which holds for OpenAI's requests here too"
        raise InvalidRequest(f"custom_id {shown}: {rule}")

    def _checked(self, params: bytes) -> bytes:
        """Put the model in, if one was given, and see that there is one; raises InvalidRequest."""
        parts = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
        if not bytes(parts.get("messages", b"")).lstrip().startswith(b"["):
            raise InvalidRequest("params: has no `messages`, which is a list")
        if bytes(parts.get("stream", b"null")).strip() not in {b"null", b"false"}:
            raise InvalidRequest(f"params.{_WHOLE_ONLY}")
        if self._model is None:
            if not bytes(parts.get("model", b"")).lstrip().startswith(b'"'):
                raise InvalidRequest("params: has no `model`; --model gives one to every request")
            return params
        parts["model"] = msgspec.Raw(orjson.dumps(self._model))
        return msgspec.json.encode(parts)


class _Line(msgspec.Struct):
    params: msgspec.Raw


_line = msgspec.json.Decoder(_Line)


def _params(told: Json, text: bytes) -> bytes:
    """Give an Anthropic request's params byte for byte; raises InvalidRequest."""
    if "params" not in told:
        raise InvalidRequest("has no params")
    if not isinstance(told["params"], dict):
        raise InvalidRequest("params is no JSON object")
    if extra := told.keys() - {"custom_id", "params"}:
        raise InvalidRequest(f"{min(extra)[:80]!r} is no field of a request, which has custom_id and params")
    return bytes(_line.decode(text).params)


def _converted(told: Json, model: str | None) -> bytes:
    """Give an OpenAI request's params, converted; raises InvalidRequest."""
    method, url, body = told.get("method", "POST"), told.get("url", _OPENAI_URL), told["body"]
    if method != "POST" or url != _OPENAI_URL:
        raise InvalidRequest(f"is not for POST {_OPENAI_URL}, the one that can be converted")
    if not isinstance(body, dict):
        raise InvalidRequest("body is no JSON object")
    if body.get("stream"):
        raise InvalidRequest(f"body.{_WHOLE_ONLY}")
    try:
        made = from_openai(body if model is None else {**body, "model": model})
    except InvalidRequest as error:
        raise InvalidRequest(f"body.{error.message}") from None
    return _dumped(made)


def _dumped(told: Any) -> bytes:
    """Write what was read from JSON, and can be written but for its depth; raises InvalidRequest."""
    try:
        return orjson.dumps(told)
    except orjson.JSONEncodeError:
        raise InvalidRequest(_TOO_DEEP) from None


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Give the lines of a file, None for one that is too long to be held."""
    while line := file.readline(MOST_EACH + 1):
        if len(line) <= MOST_EACH:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MOST_EACH)
        yield None
