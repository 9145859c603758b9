"""`/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fastapi import APIRouter, Request, Response

from routers.answering import Answering

if TYPE_CHECKING:
    from coordinators.gateway import Gateway

router = APIRouter(tags=["messages"])


def gateway_of(request: Request) -> Gateway:
    """Give the gateway that this application was assembled with."""
    return cast("Gateway", request.app.state.gateway)


@router.post("/v1/messages")
async def create_message(request: Request) -> Response:
    """Create a message, streamed or whole (Anthropic's Messages API)."""
    gateway = gateway_of(request)
    return Answering(request, gateway.answer, ping_seconds=gateway.ping_seconds)


@router.post("/v1/messages/count_tokens")
async def count_tokens(request: Request) -> Response:
    """Count the input tokens of a message."""
    gateway = gateway_of(request)
    return Answering(request, gateway.count_tokens, ping_seconds=gateway.ping_seconds)
