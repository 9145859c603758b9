"""Count input tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import orjson

from express import step
from tasks.backend import NO_MODEL
from tasks.convert import as_it_came
from tasks.exchange import Whole
from wire.errors import GatewayError, InvalidRequest, UpstreamFailed
from wire.parameters import PARAMETERS
from wire.unsealing import unsealed
from wire.upstream_errors import from_status

if TYPE_CHECKING:
    from tasks.backend import CountsTokens, Route
    from tasks.exchange import Exchange
    from wire.messages import Json


@dataclass(frozen=True, slots=True)
class Count:
    """A count between two steps. Small ints are shared: nothing would tell whose result one was."""

    tokens: int


class TokenCounter(Protocol):
    """Counts a request's input tokens, off the event loop."""

    async def count(self, body: Json, model: str) -> int:
        """Give the tokens of system, tools, messages and images; raises UpstreamFailed."""
        ...


@step
async def count_input_tokens(body: Json, route: Route, counter: TokenCounter, exchange: Exchange) -> Count:
    """Count the request's input tokens: at the backend, if it counts, else with our own counter.

    Ours counts too when the backend fails: an approximation now is worth more than an error.
    """
    target = route.target
    if target.counts:
        try:
            return Count(await _count_upstream(body, route, exchange))
        except GatewayError as error:
            if isinstance(error, InvalidRequest):
                raise
    return Count(await counter.count(body, target.model))


async def _count_upstream(body: Json, route: Route, exchange: Exchange) -> int:
    taken = route.target.dialect.on_messages
    counted = {name: value for name, value in body.items() if name not in PARAMETERS or name in taken}
    outgoing = as_it_came(unsealed(counted, route.target.model), route.target, exchange)
    lane = route.backend.pick(NO_MODEL)  # a model that answers nothing can still be counted for
    reply = await cast("CountsTokens", lane).count_tokens(outgoing)
    if reply.status != 200:
        whose_key = route.target.whose_key
        raise from_status(reply.status, reply.body, reply.headers, wire="messages", whose_key=whose_key)
    # It may have been the one call that tries a backend left alone; failures count nowhere.
    lane.succeeded(NO_MODEL)
    try:
        return int(orjson.loads(reply.body)["input_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise UpstreamFailed("the upstream answered a count that is none") from error


@step
def render_count(count: Count) -> Whole:
    """Write the count as count_tokens' answer."""
    told = {"input_tokens": count.tokens}
    return Whole(orjson.dumps(told), summary={**told})
