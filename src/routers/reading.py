"""Read a request, whole or piece by piece, within the size limit and in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tasks.exchange import Exchange
from wire.errors import InvalidRequest, RequestTooLarge, UpstreamTimeout
from wire.messages import new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Message, Receive, Scope

BODY_LIMIT = 32 * 1024 * 1024
_BODY_SECONDS = 60.0
_LONG_BODY_SECONDS = 3600.0
_PIECE_SECONDS = 30.0


def request_id(scope: Scope) -> str:
    """Give the request's id, the same for every reader of this request."""
    found = scope.get("headgate.request_id")
    if found is None:
        found = scope["headgate.request_id"] = new_id("req")
    return str(found)


async def read_exchange(scope: Scope, receive: Receive) -> Exchange:
    """Read the body (at most 32 MB); raises RequestTooLarge, InvalidRequest or UpstreamTimeout."""
    headers = headers_of(scope)
    _check_encoding(headers)
    return Exchange(request_id(scope), headers, await _read_body(receive, headers))


def headers_of(scope: Scope) -> dict[str, str]:
    """Give the headers by their names, which are in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def body_pieces(
    scope: Scope, receive: Receive, too_large: RequestTooLarge, most: int
) -> AsyncIterator[bytes]:
    """Give a long body piece by piece as it comes, never held whole.

    Raises `too_large` at once if more than `most` bytes are announced; what comes unannounced, the reader
    counts. A piece may take 30 s, the whole an hour: UpstreamTimeout. InvalidRequest if the client leaves.
    """
    headers = headers_of(scope)
    _check_encoding(headers)
    if _announced(headers) > most:
        raise too_large
    loop = asyncio.get_running_loop()
    over, more = loop.time() + _LONG_BODY_SECONDS, True
    while more:
        try:
            async with asyncio.timeout_at(min(over, loop.time() + _PIECE_SECONDS)):
                piece, more = _piece(await receive())
        except TimeoutError:
            raise UpstreamTimeout(
                f"the request body stopped coming for {_PIECE_SECONDS:g} s, or was not here within an hour"
            ) from None
        yield piece


def _check_encoding(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "").strip()
    if encoding and encoding.lower() != "identity":
        raise InvalidRequest(f"content-encoding: {encoding[:40]!r} bodies are not taken; send plain JSON")


def _announced(headers: Mapping[str, str]) -> int:
    try:
        return int(headers.get("content-length", 0))
    except ValueError:
        return 0


async def _read_body(receive: Receive, headers: Mapping[str, str]) -> bytes:
    if _announced(headers) > BODY_LIMIT:
        raise _too_large()
    # Most bodies are whole in their first piece, which the server's own deadline covers.
    body, more = _piece(await receive())
    if not more:
        return body
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await _read_rest(body, receive)
    except TimeoutError:
        raise UpstreamTimeout(f"the request body did not arrive within {_BODY_SECONDS:g} s") from None


async def _read_rest(first: bytes, receive: Receive) -> bytes:
    pieces, size, more = [first], len(first), True
    while more:
        piece, more = _piece(await receive())
        pieces.append(piece)
        size += len(piece)
        if size > BODY_LIMIT:
            raise _too_large()
    return b"".join(pieces)


def _piece(message: Message) -> tuple[bytes, bool]:
    """Give a piece of the body, and whether more is to come; InvalidRequest if the client has left."""
    if message["type"] == "http.disconnect":
        raise InvalidRequest("the client left before its request was whole")
    return message.get("body", b""), message.get("more_body", False)


def _too_large() -> RequestTooLarge:
    return RequestTooLarge(f"the request body exceeds {BODY_LIMIT // (1024 * 1024)} MB")
