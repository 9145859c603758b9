"""`/v1/messages/batches…`: Anthropic's Message Batches API, and ours beside it: pause, resume, progress."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from routers.answering import Json
from routers.reading import body_pieces, headers_of
from wire.batch_body import MOST_BYTES, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Scope, Send

    from coordinators.batches import Batches

router = APIRouter(tags=["batches"], prefix="/v1/messages/batches")

_HOST = re.compile(r"[A-Za-z0-9.:_\-\[\]]{1,255}")


def _batches(request: Request) -> Batches:
    return cast("Batches", request.app.state.batches)


def _root(scope: Scope) -> str:
    """Give the address that the client knows us by.

    A proxy's word on it is believed: it goes back to nobody but the client whose request brought it.
    """
    headers = headers_of(scope)
    told = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = told if told in {"http", "https"} else scope["scheme"]
    for name in ("x-forwarded-host", "host"):
        host = headers.get(name, "").partition(",")[0].strip()
        if _HOST.fullmatch(host):
            return f"{scheme}://{host}"
    server, port = scope["server"]
    return f"{scheme}://{server}:{port}"


class Lines(StreamingResponse):
    """Lines of JSON. Whoever leaves early, the iterator is closed."""

    media_type = "application/x-jsonl"

    async def stream_response(self, send: Send) -> None:
        """Send what the iterator gives."""
        async with aclosing(cast("AsyncGenerator[bytes]", self.body_iterator)):
            await super().stream_response(send)


@router.post("")
async def create(request: Request) -> Response:
    """Make a batch of the body's `requests`."""
    scope = request.scope
    pieces = body_pieces(scope, request.receive, too_large(), MOST_BYTES)
    return Json(await _batches(request).create(headers_of(scope), pieces, _root(scope)))


@router.get("")
async def list_batches(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    before_id: str | None = None,
    after_id: str | None = None,
) -> Response:
    """List batches, newest first, a page at a time."""
    page = await _batches(request).page(
        request.headers, _root(request.scope), limit=limit, before_id=before_id, after_id=after_id
    )
    return Json(page)


@router.get("/{batch_id}")
async def retrieve(request: Request, batch_id: str) -> Response:
    """Give a batch."""
    return Json(await _batches(request).retrieve(request.headers, batch_id, _root(request.scope)))


@router.delete("/{batch_id}")
async def delete(request: Request, batch_id: str) -> Response:
    """Delete a batch that has ended."""
    return Json(await _batches(request).delete(request.headers, batch_id))


@router.post("/{batch_id}/cancel")
async def cancel(request: Request, batch_id: str) -> Response:
    """Begin to cancel a batch."""
    return Json(await _batches(request).cancel(request.headers, batch_id, _root(request.scope)))


@router.get("/{batch_id}/results")
async def results(request: Request, batch_id: str) -> Response:
    """Give the results of a batch that has ended, a line each."""
    return Lines(await _batches(request).results(request.headers, batch_id))


@router.post("/{batch_id}/pause")
async def pause(request: Request, batch_id: str) -> Response:
    """Hold back what is not under way."""
    return Json(await _batches(request).pause(request.headers, batch_id, paused=True))


@router.post("/{batch_id}/resume")
async def resume(request: Request, batch_id: str) -> Response:
    """Let a paused batch go on."""
    return Json(await _batches(request).pause(request.headers, batch_id, paused=False))


@router.get("/{batch_id}/progress")
async def progress(request: Request, batch_id: str) -> Response:
    """Say how far a batch is."""
    return Json(await _batches(request).progress(request.headers, batch_id))
