"""Chat completions: what OpenAI's clients ask for, from any backend, whole or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from flows.attempts import Patience, attempt, first_to_answer
from flows.prepare import prepare
from tasks.call import call_backend, open_stream
from tasks.convert import convert_chat_request
from tasks.exchange import Streaming
from tasks.render import render_completion
from tasks.resolve_model import resolve_model
from tasks.validate import validate_chat_request

if TYPE_CHECKING:
    from flows.prepare import House
    from tasks.backend import Backends, Lane, Outgoing, Route
    from tasks.exchange import Exchange, Whole

_PATIENCE = Patience()


@pipeline(name="chat_completions")
async def chat_completions(
    exchange: Exchange, backends: Backends, patience: Patience = _PATIENCE, house: House | None = None
) -> Whole:
    """Answer with a finished completion."""
    body = validate_chat_request(exchange)
    routes = resolve_model(body, backends)

    async def answer(route: Route) -> Whole:
        outgoing = prepare(body, route, exchange, house, convert_chat_request)
        return await attempt(_ask, outgoing, route.backend, exchange, patience)

    return await first_to_answer(answer, routes, exchange)


async def _ask(outgoing: Outgoing, lane: Lane) -> Whole:
    """Make one attempt: an error inside HTTP 200 fails it like any other."""
    return render_completion(await call_backend(outgoing, lane), outgoing)


@pipeline(name="chat_streaming")
async def chat_streaming(
    exchange: Exchange, backends: Backends, patience: Patience = _PATIENCE, house: House | None = None
) -> Streaming:
    """Answer with a live stream of chunks, once the first has come."""
    body = validate_chat_request(exchange)
    routes = resolve_model(body, backends)

    async def answer(route: Route) -> Streaming:
        outgoing = prepare(body, route, exchange, house, convert_chat_request)
        live = await attempt(open_stream, outgoing, route.backend, exchange, patience)
        return Streaming(live)

    return await first_to_answer(answer, routes, exchange)
