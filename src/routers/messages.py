"""`/v1/messages` and `/v1/messages/count_tokens`.

These are plain ASGI routes: FastAPI's own endpoints cost 57 µs a request more, for parsing that
happens elsewhere (docs/decisions/0005-plain-routes.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from starlette.requests import Request
from starlette.routing import Route

from routers.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from coordinators.gateway import Gateway
    from tasks.exchange import Exchange, Sending, Whole


def gateway_of(request: Request) -> Gateway:
    """Give the gateway that this application was assembled with."""
    return cast("Gateway", request.app.state.gateway)


class _Endpoint:
    """Answers one route by one of the gateway's methods."""

    def __init__(self, pick: Callable[[Gateway], Callable[[Exchange], Awaitable[Whole | Sending]]]) -> None:
        self._pick = pick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        gateway = gateway_of(request)
        answering = Answering(request, self._pick(gateway), ping_seconds=gateway.ping_seconds)
        await answering(scope, receive, send)


def message_routes(prefix: str = "") -> list[Route]:
    """Give the routes that create messages and count their tokens."""
    create, count = _Endpoint(lambda gateway: gateway.answer), _Endpoint(lambda gateway: gateway.count_tokens)
    return [
        Route(f"{prefix}/v1/messages", create, methods=["POST"]),
        Route(f"{prefix}/v1/messages/count_tokens", count, methods=["POST"]),
    ]
