"""Ask for the upstream's prompt cache, where the client does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step
from wire.breakpoints import LEAST_BYTES, has_breakpoints, with_breakpoints

if TYPE_CHECKING:
    from tasks.backend import Route, Target
    from tasks.exchange import Exchange
    from wire.messages import Json


def may_add_breakpoints(body: Json, target: Target, exchange: Exchange) -> bool:
    """Say whether the request is worth caching, has no breakpoint, and goes to a cache that must be asked.

    On a chat wire that is Claude's only: others cache by themselves, or have a price of their own for it.
    """
    if len(exchange.raw) < LEAST_BYTES:
        return False
    if target.wire == "chat" and not (target.dialect.cache_control and "claude" in target.model.lower()):
        return False
    return not has_breakpoints(body)


@step
def add_breakpoints(body: Json, route: Route) -> Json:
    """Give the request with breakpoints after its tools, its system prompt and its last stable turns."""
    return with_breakpoints(body, in_blocks=route.target.wire == "messages")
