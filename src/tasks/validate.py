"""Read the request body and refuse what is wrong with it, before anything is sent upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step
from wire.check import check_request, parse_body

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
