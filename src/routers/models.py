"""`/v1/models`: what may be asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from routers.answering import Json
from routers.messages import gateway_of

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def list_models(
    request: Request,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    before_id: str | None = None,
    after_id: str | None = None,
) -> Response:
    """List models in Anthropic's shape, a page at a time; OpenAI's clients know no pages and get them all."""
    gateway = gateway_of(request)
    gateway.authenticate(request.headers)
    page = await gateway.catalog.page(
        limit=limit or _page_size(request), before_id=before_id, after_id=after_id
    )
    return Json(page)


@router.get("/v1/models/{model_id:path}")
async def retrieve_model(request: Request, model_id: str) -> Response:
    """Give one model; 404 if no rule or list knows it."""
    gateway = gateway_of(request)
    gateway.authenticate(request.headers)
    return Json(await gateway.catalog.find(model_id))


def _page_size(request: Request) -> int:
    """Give the size of a page where the client does not: Anthropic's clients name their API's version."""
    return 20 if "anthropic-version" in request.headers else 1000
