"""Read a request whole, within the size limit and in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from tasks.exchange import Exchange
from wire.errors import InvalidRequest, RequestTooLarge, UpstreamTimeout
from wire.messages import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import Scope

BODY_LIMIT = 32 * 1024 * 1024
_BODY_SECONDS = 60.0


def request_id(scope: Scope) -> str:
    """Give the request's id, the same for every reader of this request."""
    found = scope.get("headgate.request_id")
    if found is None:
        found = scope["headgate.request_id"] = new_id("req")
    return str(found)


async def read_exchange(request: Request) -> Exchange:
    """Read the body (at most 32 MB); raises RequestTooLarge, InvalidRequest or UpstreamTimeout."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
    if encoding := headers.get("content-encoding"):
        raise InvalidRequest(f"content-encoding: {encoding[:40]!r} bodies are not taken; send plain JSON")
    return Exchange(request_id(request.scope), headers, await _read_body(request, headers))


async def _read_body(request: Request, headers: Mapping[str, str]) -> bytes:
    try:
        announced = int(headers.get("content-length", 0))
    except ValueError:
        announced = 0
    if announced > BODY_LIMIT:
        raise _too_large()
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.stream():
                size += len(piece)
                if size > BODY_LIMIT:
                    raise _too_large()
                pieces.append(piece)
    except TimeoutError:
        raise UpstreamTimeout(f"the request body did not arrive within {_BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise InvalidRequest("the client left before its request was whole") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large() -> RequestTooLarge:
    return RequestTooLarge(f"the request body exceeds {BODY_LIMIT // (1024 * 1024)} MB")
