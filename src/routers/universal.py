"""`/v1/universal`: one stream over every provider, and what they are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from starlette.routing import Route

from routers.answering import Answering, Json
from routers.messages import gateway_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

router = APIRouter(tags=["universal"])


class _Stream:
    """Answers the universal stream; a plain ASGI route, as those of messages are."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        gateway = gateway_of(request)
        answer = partial(gateway.answer_universally, output=request.query_params.get("output"))
        await Answering(request, answer, ping_seconds=gateway.ping_seconds)(scope, receive, send)


def universal_routes(prefix: str = "") -> list[Route]:
    """Give the route of the stream."""
    return [Route(f"{prefix}/v1/universal/stream", _Stream(), methods=["POST"])]


@router.get("/v1/universal/providers")
async def list_providers(request: Request) -> Response:
    """List the providers: configured or not, their models, abilities and limits."""
    gateway = gateway_of(request)
    gateway.authenticate(request.headers)
    return Json(await gateway.universal.describe())


@router.get("/v1/universal/health")
async def check_providers(request: Request) -> Response:
    """Say of each provider whether it is configured and reachable, its latency and its last error."""
    gateway = gateway_of(request)
    gateway.authenticate(request.headers)
    return Json(await gateway.universal.health())
