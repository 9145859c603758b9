"""`/v1/cache/…`: what the answer cache holds and does, and how it is managed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Query, Request, Response

from coordinators.cache_entries import Selection
from routers.answering import Answering, Json
from routers.messages import Door

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from coordinators.cache_admin import CacheAdmin
    from tasks.exchange import Exchange, Sending, Whole

router = APIRouter(tags=["cache"], prefix="/v1/cache")


def _admin(request: Request) -> CacheAdmin:
    return cast("CacheAdmin", request.app.state.cache_admin)


def peer_of(scope: Scope) -> str | None:
    """Give the address that a request comes from."""
    client = scope.get("client")
    return client[0] if client else None


@router.get("/health")
async def health(request: Request) -> Response:
    """Say how the store is."""
    return Json(await _admin(request).health(request.headers, peer_of(request.scope)))


@router.get("/stats")
async def stats(request: Request) -> Response:
    """Give hits, misses, what was saved, and latencies."""
    return Json(await _admin(request).stats(request.headers, peer_of(request.scope)))


@router.get("/configuration")
async def configuration(request: Request) -> Response:
    """Give the settings."""
    return Json(await _admin(request).configuration(request.headers, peer_of(request.scope)))


@router.get("/entries")
async def entries(
    request: Request,
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
    key: str | None = None,
    tag: str | None = None,
    model: str | None = None,
    pattern: str | None = None,
    older_than: Annotated[float | None, Query(ge=0)] = None,
    younger_than: Annotated[float | None, Query(ge=0)] = None,
    bodies: bool = False,
) -> Response:
    """List entries, a page at a time."""
    selection = Selection(key, tag, model, pattern, None, older_than, younger_than)
    listed = await _admin(request).entries(
        request.headers, peer_of(request.scope), selection, offset=offset, limit=limit, bodies=bodies
    )
    return Json(listed)


class CacheDoor:
    """Answers one route by one of the cache admin's methods that read a body."""

    def __init__(
        self, pick: Callable[[CacheAdmin], Callable[[Exchange, str | None], Awaitable[Whole | Sending]]]
    ) -> None:
        self._pick = pick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        state = scope["app"].state
        answer = self._pick(state.cache_admin)
        answering = Answering(
            lambda exchange: answer(exchange, peer_of(scope)), ping_seconds=state.gateway.ping_seconds
        )
        await answering(scope, receive, send)


def cache_doors() -> dict[str, Door | CacheDoor]:
    """Give what answers `POST` requests, by path."""
    return {
        "/v1/cache/messages/stream": Door(lambda gateway: gateway.answer_cached, cached=True),
        "/v1/cache/invalidate": CacheDoor(lambda admin: admin.invalidate),
        "/v1/cache/test": CacheDoor(lambda admin: admin.test),
        "/v1/cache/warm": CacheDoor(lambda admin: admin.warm),
    }
