"""Messages: one answer, whole or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from flows.attempts import Patience, attempt, first_to_answer
from flows.cached import cached_message, cached_stream
from flows.prepare import prepare
from tasks.call import call_backend, open_stream
from tasks.exchange import Streaming
from tasks.render import render_message
from tasks.resolve_model import resolve_model
from tasks.validate import validate_request

if TYPE_CHECKING:
    from flows.prepare import House
    from tasks.backend import Backends, Lane, Outgoing, Route
    from tasks.exchange import Exchange, Whole

_PATIENCE = Patience()


@pipeline(name="messages")
async def messages(
    exchange: Exchange, backends: Backends, patience: Patience = _PATIENCE, house: House | None = None
) -> Whole:
    """Answer with a finished Message."""
    body = validate_request(exchange)
    routes = resolve_model(body, backends)

    async def answer(route: Route) -> Whole:
        outgoing = prepare(body, route, exchange, house)
        return await attempt(_ask, outgoing, route.backend, exchange, patience)

    return await cached_message(
        body, routes, exchange.cache, lambda: first_to_answer(answer, routes, exchange)
    )


async def _ask(outgoing: Outgoing, lane: Lane) -> Whole:
    """Make one attempt: an error inside HTTP 200 fails it like any other."""
    return render_message(await call_backend(outgoing, lane), outgoing)


@pipeline(name="streaming")
async def streaming(
    exchange: Exchange, backends: Backends, patience: Patience = _PATIENCE, house: House | None = None
) -> Streaming:
    """Answer with a live stream, once its first event has come.

    Never a generator flow: Prefect's engine does not close one when the client leaves.
    """
    body = validate_request(exchange)
    routes = resolve_model(body, backends)

    async def answer(route: Route) -> Streaming:
        outgoing = prepare(body, route, exchange, house)
        live = await attempt(open_stream, outgoing, route.backend, exchange, patience)
        return Streaming(live)

    return await cached_stream(
        body, routes, exchange.cache, lambda: first_to_answer(answer, routes, exchange)
    )
