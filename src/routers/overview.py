"""`/overview`: one page of what goes on here, and its changes as events; for managers."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import orjson
from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse, StreamingResponse

from routers.answering import error_response, note_error
from routers.cache import peer_of
from routers.reading import request_id
from wire.errors import AuthenticationFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Send

    from coordinators.overview import Overview

router = APIRouter(tags=["overview"], prefix="/overview")

_EVENTS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def _overview(request: Request) -> Overview:
    return cast("Overview", request.app.state.overview)


@router.get("")
async def page(request: Request) -> Response:
    """Give the page. A browser asks for an admin key, if there is one, as for a password."""
    try:
        html, headers = await _overview(request).html(request.headers, peer_of(request.scope))
    except AuthenticationFailed as error:
        response = error_response(note_error(error, request.scope), request_id(request.scope))
        response.headers["www-authenticate"] = 'Basic realm="Headgate: an admin key as the password"'
        return response
    return HTMLResponse(html, headers=headers)


@router.get("/events")
async def events(request: Request) -> Response:
    """Give the page's sections as they change."""
    changes = _overview(request).follow(request.headers, peer_of(request.scope))
    return _Events(_frames(changes), media_type="text/event-stream", headers=_EVENTS)


async def _frames(changes: AsyncIterator[dict[str, str]]) -> AsyncIterator[bytes]:
    async with aclosing(changes):  # type: ignore[type-var]
        async for sections in changes:
            yield b"event: sections\ndata: %b\n\n" % orjson.dumps(sections)


class _Events(StreamingResponse):
    """Closes what it sends from when the client leaves, which Starlette does not."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)
