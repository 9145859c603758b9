"""`/metrics` for Prometheus, `/tool-metrics` for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fastapi import APIRouter, Request, Response

from routers.answering import Json
from routers.cache import peer_of

if TYPE_CHECKING:
    from coordinators.metric_reports import MetricReports

router = APIRouter(tags=["metrics"])


def _reports(request: Request) -> MetricReports:
    return cast("MetricReports", request.app.state.metric_reports)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Give the instance's metrics in Prometheus' text format, or in OpenMetrics'."""
    text, kind = await _reports(request).exposition(request.headers, peer_of(request.scope))
    return Response(text, headers={"content-type": kind})


@router.get("/tool-metrics")
async def tool_metrics(request: Request) -> Response:
    """Give how often each tool was declared, called, and failed, by model."""
    return Json(await _reports(request).tools(request.headers, peer_of(request.scope)))
