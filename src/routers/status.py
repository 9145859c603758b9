"""What is running here, and how it is."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from routers.answering import Json
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


@router.get("/health/detailed")
async def detailed_health(request: Request) -> Response:
    """Give every part and its state."""
    gateway = gateway_of(request)
    gateway.authenticate(request.headers)
    return Json(await gateway.health())
