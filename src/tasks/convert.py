"""Put the request into the backend's format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from express import step
from tasks.backend import Outgoing
from tasks.must_reason import LEAST, is_told_not_to
from wire.answer import AnswerContext
from wire.billing import unbilled
from wire.chat_request import to_chat
from wire.check import encode_body
from wire.dialects import ANTHROPIC
from wire.estimate import estimate_tokens
from wire.messages import new_id
from wire.names import NO_NAMES
from wire.openai_chat import goes_as_it_came, to_openai_chat
from wire.openai_request import with_thinking
from wire.openai_stream import shape_of
from wire.unsealing import unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.backend import Route, Target
    from tasks.exchange import Exchange
    from tasks.must_reason import MustReason
    from wire.messages import Json
    from wire.names import ToolNames


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Pick the client's `anthropic-*` headers: an open list, so that new betas pass."""
    picked = {
        name: value
        for name, value in headers.items()
        if name.startswith("anthropic-") and name != "anthropic-dangerous-direct-browser-access"
    }
    picked.setdefault("anthropic-version", "2023-06-01")
    return picked


@step
def convert_chat_request(
    body: Json, route: Route, exchange: Exchange, first_event: float | None, must_reason: MustReason
) -> Outgoing:
    """Write an OpenAI client's request on the wire of the route's target; raises UnsupportedContent.

    `body` is the request as a Messages request. A chat backend gets the client's own body, if it takes it.
    """
    target = route.target
    client, before = exchange.body or {}, exchange.canonical or {}
    shape = shape_of(client, model=target.asked, created=exchange.started)
    if target.wire == "chat" and goes_as_it_came(target.dialect):
        chat = to_openai_chat(client, before, body, model=target.model, dialect=target.dialect)
        context = _context(body, target, exchange, NO_NAMES)
        made = _on_chat(chat, context, exchange, first_event, must_reason)
        return replace(made, shape=shape, relayed=True)
    if exchange.chat_only:
        raise exchange.chat_only[0]
    body = unsealed(with_thinking(body), target.model)  # no client of OpenAI's has our signatures to send
    return replace(converted(body, target, exchange, first_event, must_reason), shape=shape)


@step
def convert_request(
    body: Json, route: Route, exchange: Exchange, first_event: float | None, must_reason: MustReason
) -> Outgoing:
    """Write the request on the wire of the route's target; raises UnsupportedContent with the path.

    The route itself is the argument, not its target, so that the run shows who fed this step. `first_event`
    is passed on to whoever sends the request. `must_reason` has the models that cannot be told not to reason.
    """
    return converted(body, route.target, exchange, first_event, must_reason)


def converted(
    body: Json, target: Target, exchange: Exchange, first_event: float | None, must_reason: MustReason
) -> Outgoing:
    """Write a Messages request on the target's wire."""
    if target.wire == "messages":
        return as_it_came(body, target, exchange, first_event)
    chat, names = to_chat(body, model=target.model, dialect=target.dialect)
    return _on_chat(chat, _context(body, target, exchange, names), exchange, first_event, must_reason)


def _on_chat(
    chat: Json,
    context: AnswerContext,
    exchange: Exchange,
    first_event: float | None,
    must_reason: MustReason,
) -> Outgoing:
    """Write a chat request out; a model that must reason is told to do so as little as it can."""
    learning = None
    if is_told_not_to(chat):
        if context.upstream_model in must_reason:
            chat["reasoning"] = LEAST
        else:
            learning = must_reason
    payload = encode_body(chat)
    return Outgoing("chat", payload, {}, exchange.stream, context, first_event, must_reason=learning)


def as_it_came(body: Json, target: Target, exchange: Exchange, first_event: float | None = None) -> Outgoing:
    """Write the request on the messages wire: as it came, but for the model's name.

    Signatures of our own are out of it already (`wire.unsealing`).
    Claude Code's billing line goes to Anthropic alone: to others it would be a prompt that begins anew with
    every request.
    """
    if target.dialect is not ANTHROPIC:
        body = unbilled(body)
    payload = encode_body({**body, "model": target.model})
    context = _context(body, target, exchange, NO_NAMES)
    headers = forwarded_headers(exchange.headers)
    return Outgoing("messages", payload, headers, exchange.stream, context, first_event)


def _context(body: Json, target: Target, exchange: Exchange, names: ToolNames) -> AnswerContext:
    guesses = exchange.stream and target.wire == "chat"  # whose `message_start` comes before any usage
    return AnswerContext(
        message_id=new_id("msg"),
        model=target.asked,
        upstream_model=target.model,
        input_estimate=estimate_tokens(body, len(exchange.raw)) if guesses else 0,
        tool_names=names,
        stop_sequences=tuple(body.get("stop_sequences") or ()),
        web_search=_asks_web_search(body),
        whose_key=target.whose_key,
    )


def _asks_web_search(body: Json) -> bool:
    tools = body.get("tools") or ()
    return bool(tools) and any(str(tool.get("type", "")).startswith("web_search_") for tool in tools)
