"""How many input tokens a request has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from tasks.count import count_input_tokens, render_count
from tasks.resolve_model import resolve_model
from tasks.validate import validate_count_request

if TYPE_CHECKING:
    from tasks.backend import Backend
    from tasks.count import TokenCounter
    from tasks.exchange import Exchange, Whole


@pipeline(name="count_tokens")
async def count_tokens(exchange: Exchange, backend: Backend, counter: TokenCounter) -> Whole:
    """Answer with the number of input tokens."""
    body = validate_count_request(exchange)
    target = resolve_model(body, backend)
    tokens = await count_input_tokens(body, target, counter)
    return render_count(tokens)
