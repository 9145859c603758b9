"""The universal stream: any format in, any provider, any format out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from flows.attempts import Patience, attempt, first_to_answer
from flows.prepare import House, prepare
from tasks.call import open_stream
from tasks.exchange import Streaming
from tasks.universal import find_providers, ping_of, read_universal_request, told_as

if TYPE_CHECKING:
    from tasks.backend import Route
    from tasks.exchange import Exchange
    from tasks.universal import Providers

_PATIENCE = Patience()


@pipeline(name="universal")
async def universal(
    exchange: Exchange,
    providers: Providers,
    output: str | None,
    patience: Patience = _PATIENCE,
    house: House | None = None,
) -> Streaming:
    """Answer with a live stream from the first provider that gives one; `output` is the query's."""
    request = read_universal_request(exchange, output)
    routes = await find_providers(request, providers)

    async def answer(route: Route) -> Streaming:
        converted = prepare(request.body, route, exchange, house)
        outgoing = told_as(request.output, converted, route, exchange)
        live = await attempt(open_stream, outgoing, route.backend, exchange, patience)
        return Streaming(live, ping=ping_of(request.output))

    return await first_to_answer(answer, routes, exchange)
