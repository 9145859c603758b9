"""What is running here, and how it is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from routers.answering import Json
from routers.cache import peer_of
from routers.messages import gateway_of

router = APIRouter(tags=["status"])


@router.get("/")
async def describe(request: Request) -> Response:
    """Say what this is and where to go on."""
    return Json(gateway_of(request).description())


@router.head("/")
@router.head("/api/hello")
async def greet() -> Response:
    """Answer the probe that clients send before anything else."""
    return Response(status_code=200)


@router.get("/health")
async def health() -> Response:
    """Say that the process answers; does nothing else."""
    return Json({"status": "ok"})


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """Say whether this process may be sent requests, and what is missing if not."""
    if missing := request.app.state.readiness.missing:
        return Json({"status": "not ready", "missing": missing}, 503)
    return Json({"status": "ready"})


@router.get("/health/claude-code")
async def claude_code(
    request: Request, *, model: Annotated[str | None, Query(max_length=200)] = None, refresh: bool = False
) -> Response:
    """Say what of Claude Code works here. Asks the backends, which costs money: for managers."""
    found = await request.app.state.claude_code.check(
        request.headers, peer_of(request.scope), model, refresh=refresh
    )
    return Json(found)


@router.get("/health/detailed")
async def detailed_health(request: Request) -> Response:
    """Give every part and its state."""
    gateway = gateway_of(request)
    gateway.authenticate(request.headers)
    return Json(await gateway.health())
