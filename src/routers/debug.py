"""`/debug/…`: errors by hash, where they can come from, and which server this is; for managers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Query, Request, Response

from coordinators.error_reading import Wanted
from routers.answering import Json
from routers.cache import peer_of

if TYPE_CHECKING:
    from coordinators.debug import Debug

router = APIRouter(tags=["debug"], prefix="/debug")

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
Text = Annotated[str | None, Query(max_length=200)]


def _debug(request: Request) -> Debug:
    return cast("Debug", request.app.state.debug)


@router.get("/errors/hash/{error_hash}")
async def error(request: Request, error_hash: str) -> Response:
    """Give one error's place, counts and last occurrences."""
    return Json(await _debug(request).error(request.headers, peer_of(request.scope), error_hash))


@router.get("/errors/search")
async def search(
    request: Request,
    *,
    type: Text = None,  # noqa: A002 - the query's own word
    function: Text = None,
    file: Text = None,
    hash: Text = None,  # noqa: A002 - likewise
    model: Text = None,
    backend: Text = None,
    request_id: Text = None,
    server: Text = None,
    since: Text = None,
    until: Text = None,
    text: Text = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response:
    """List errors, the newest first, a page at a time."""
    wanted = Wanted(
        hash, type, function, file, model, backend, request_id, server, since, until, text
    )  # fmt: skip
    found = await _debug(request).search(
        request.headers, peer_of(request.scope), wanted, offset=offset, limit=limit
    )
    return Json(found)


@router.get("/errors/registry")
async def registry(
    request: Request, *, kind: Text = None, limit: Limit = 100, offset: Offset = 0
) -> Response:
    """List the places that can raise, the most frequent first."""
    found = await _debug(request).places(
        request.headers, peer_of(request.scope), kind=kind, offset=offset, limit=limit
    )
    return Json(found)


@router.get("/errors/enhanced/stats")
async def stats(request: Request, *, since: Text = None, until: Text = None, server: Text = None) -> Response:
    """Sum errors up: by place, type, model, backend, status, server and hour."""
    wanted = Wanted(since=since, until=until, server=server)
    return Json(await _debug(request).stats(request.headers, peer_of(request.scope), wanted))


@router.get("/server/instance")
async def server(request: Request) -> Response:
    """Say which server this is and what its folder holds."""
    return Json(await _debug(request).server(request.headers, peer_of(request.scope)))
