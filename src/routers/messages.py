"""`/v1/messages`, `/v1/messages/count_tokens`, and `/v1/chat/completions` for OpenAI's clients.

These are doors of their own, before FastAPI's routes: its middleware, routing and parsing cost more than
all the steps of a small request (docs/decisions/0005-doors.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from routers.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from coordinators.gateway import Gateway
    from tasks.exchange import Exchange, Format, Sending, Whole


def gateway_of(request: Request) -> Gateway:
    """Give the gateway that this application was assembled with."""
    return cast("Gateway", request.app.state.gateway)


class Door:
    """Answers one route by one of the gateway's methods; `cached` ones say what the answer cache did."""

    def __init__(
        self,
        pick: Callable[[Gateway], Callable[[Exchange], Awaitable[Whole | Sending]]],
        form: Format = "anthropic",
        *,
        cached: bool = False,
    ) -> None:
        self.form: Format = form
        self._cached = cached
        self._pick = pick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        gateway: Gateway = scope["app"].state.gateway
        answering = Answering(
            self._pick(gateway), ping_seconds=gateway.ping_seconds, form=self.form, cached=self._cached
        )
        await answering(scope, receive, send)


def doors() -> dict[str, Door]:
    """Give what answers `POST` requests, by path. A base URL given with /v1 makes /v1/v1/…: alike."""
    create = Door(lambda gateway: gateway.answer, cached=True)
    count = Door(lambda gateway: gateway.count_tokens)
    paths = {
        "/v1/messages": create,
        "/v1/messages/count_tokens": count,
        "/v1/chat/completions": Door(lambda gateway: gateway.complete_chat, "openai"),
    }
    return {f"{prefix}{path}": door for prefix in ("", "/v1") for path, door in paths.items()}
