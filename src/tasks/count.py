"""Count input tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import orjson

from express import step
from tasks.exchange import Whole

if TYPE_CHECKING:
    from tasks.backend import Target
    from wire.messages import Json


class TokenCounter(Protocol):
    """Counts a request's input tokens, off the event loop."""

    async def count(self, body: Json, model: str) -> int:
        """Give the tokens of system, tools, messages and images; raises UpstreamFailed."""
        ...


@step
async def count_input_tokens(body: Json, target: Target, counter: TokenCounter) -> int:
    """Count the request's input tokens with the counter of the target's model."""
    return await counter.count(body, target.model)


@step
def render_count(tokens: int) -> Whole:
    """Write the count as count_tokens' answer."""
    return Whole(orjson.dumps({"input_tokens": tokens}), summary={"input_tokens": tokens})
