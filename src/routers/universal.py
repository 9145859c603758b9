"""`/v1/universal`: one stream over every provider, and what they are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from routers.answering import Answering, Json
from routers.messages import Door, gateway_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from coordinators.gateway import Gateway

router = APIRouter(tags=["universal"])


class UniversalDoor(Door):
    """Answers the universal stream; the query may name the format of the answer."""

    def __init__(self) -> None:
        super().__init__(lambda gateway: partial(gateway.answer_universally, output=None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        gateway: Gateway = scope["app"].state.gateway
        output = parse_qs(scope["query_string"].decode("latin-1")).get("output", [None])[0]
        answer = partial(gateway.answer_universally, output=output)
        await Answering(answer, ping_seconds=gateway.ping_seconds)(scope, receive, send)


def universal_doors() -> dict[str, Door]:
    """Give what answers the stream, by path."""
    door = UniversalDoor()
    return {"/v1/universal/stream": door, "/v1/v1/universal/stream": door}


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
