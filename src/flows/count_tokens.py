"""How many input tokens a request has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from tasks.count import count_input_tokens, render_count
from tasks.resolve_model import resolve_model
from tasks.validate import validate_count_request

if TYPE_CHECKING:
    from tasks.backend import Backends
    from tasks.count import TokenCounter
    from tasks.exchange import Exchange, Whole


@pipeline(name="count_tokens")
async def count_tokens(exchange: Exchange, backends: Backends, counter: TokenCounter) -> Whole:
    """Answer with the number of input tokens."""
    body = validate_count_request(exchange)
    routes = resolve_model(body, backends)
    count = await count_input_tokens(body, routes[0], counter, exchange)
    return render_count(count)
