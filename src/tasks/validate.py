"""Read the request body and refuse what is wrong with it, before anything is sent upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step
from wire.check import check_own_fields, check_request, parse_body
from wire.openai_request import from_openai
from wire.parameters import check_parameters

if TYPE_CHECKING:
    from tasks.exchange import Exchange
    from wire.messages import Json


@step
def validate_request(exchange: Exchange) -> Json:
    """Parse and check a Messages request; raises InvalidRequest with the field's path."""
    body = exchange.body or parse_body(exchange.raw)
    check_request(body)
    return body


@step
def validate_count_request(exchange: Exchange) -> Json:
    """Parse and check a count_tokens request, which needs no max_tokens."""
    body = exchange.body or parse_body(exchange.raw)
    check_request(body, need_max_tokens=False)
    return body


@step
def validate_chat_request(exchange: Exchange) -> Json:
    """Parse and check a chat/completions request, and give it as a Messages request; raises InvalidRequest.

    What only a chat backend can do is not in it: `exchange.chat_only` refuses that where another one answers.
    """
    chat = exchange.body or parse_body(exchange.raw)
    exchange.body = chat
    check_own_fields(chat)
    exchange.canonical = from_openai(chat, chat_only=exchange.chat_only, keep_reasoning=True)
    check_parameters(exchange.canonical)
    return exchange.canonical
