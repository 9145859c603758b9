"""Messages: one answer, whole or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from flows.attempts import Patience, attempt
from tasks.call import call_backend, open_stream
from tasks.convert import convert_request
from tasks.exchange import Streaming
from tasks.render import render_message
from tasks.resolve_model import resolve_model
from tasks.validate import validate_request

if TYPE_CHECKING:
    from tasks.backend import Backend
    from tasks.exchange import Exchange, Whole

_PATIENCE = Patience()


@pipeline(name="messages")
async def messages(exchange: Exchange, backend: Backend, patience: Patience = _PATIENCE) -> Whole:
    """Answer with a finished Message."""
    body = validate_request(exchange)
    target = resolve_model(body, backend)
    outgoing = convert_request(body, target, exchange)
    reply = await attempt(call_backend, outgoing, backend, exchange, patience)
    return render_message(reply, outgoing)


@pipeline(name="streaming")
async def streaming(exchange: Exchange, backend: Backend, patience: Patience = _PATIENCE) -> Streaming:
    """Answer with a live stream, once its first event has come.

    Never a generator flow: Prefect's engine does not close one when the client leaves.
    """
    body = validate_request(exchange)
    target = resolve_model(body, backend)
    outgoing = convert_request(body, target, exchange)
    live = await attempt(open_stream, outgoing, backend, exchange, patience)
    return Streaming(live)
