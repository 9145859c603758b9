"""A request body: bytes to JSON object and back, both refusing with 400 what cannot be done."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from wire.errors import InvalidRequest
from wire.interning import SMALLEST_BODY, Interner, parse_interned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Json

DEEPEST = 254
"""Levels of nesting that orjson writes; it reads 1,024."""

_shared = Interner()


def parse_body(raw: bytes) -> Json:
    """Parse the bytes of a request body.

    Broken JSON, NaN, invalid UTF-8, nesting beyond measure and anything but an object are InvalidRequest. The
    message gives the position, never the content: it ends up in logs. Large bodies share messages and tools
    with others (`wire.interning`), so a body's messages must not be changed.
    """
    if len(raw) >= SMALLEST_BODY:
        # What is wrong, or nested too deeply, is parsed again below, which says where it is so.
        with suppress(ValueError, RecursionError):
            return parse_interned(raw, _shared)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        line, column = _place_of_no_utf8(raw) or (error.lineno, error.colno)
        raise InvalidRequest(f"body: not valid JSON at line {line}, column {column}: {error.msg}") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"body: must be a JSON object, not {json_type(body)}")
    return body


def encode_body(body: Json) -> bytes:
    """Give the bytes of `body`; InvalidRequest names the value that is nested too deeply to be sent on."""
    try:
        return orjson.dumps(body)
    except TypeError:  # orjson.JSONEncodeError, which does not say where
        raise InvalidRequest(f"{unwritable(body)}: nested too deeply, or not JSON") from None


def unwritable(value: Any, path: str = "") -> str:
    """Find the path of the first value that orjson cannot write, walking without recursion."""
    waiting = [(path, value, 1)]
    while waiting:
        where, value, depth = waiting.pop()
        if depth > DEEPEST or not _is_plain(value):
            return shortened(where)
        inner = [(f"{where}.{key}" if where else str(key), one, depth + 1) for key, one in _children(value)]
        waiting.extend(reversed(inner))
    return path or "body"


def _place_of_no_utf8(raw: bytes) -> tuple[int, int] | None:
    """Give line and column of the first bytes that are no UTF-8, for which orjson always says 1 and 1."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        return before.count("\n") + 1, len(before) - before.rfind("\n")
    return None


def shortened(path: str) -> str:
    """Cut the middle out of the path of something 254 levels down."""
    return path if len(path) <= 200 else f"{path[:120]}…{path[-60:]}"


def json_type(value: Any) -> str:
    """Name the JSON type of `value`, for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _is_plain(value: Any) -> bool:
    """Tell whether `value` itself, whatever it holds, has a form in JSON."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value)
    return isinstance(value, (str, int, float, list, type(None)))
