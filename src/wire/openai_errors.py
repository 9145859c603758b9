"""Our errors in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from wire.errors import (
    AuthenticationFailed,
    BillingRequired,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PermissionDenied,
    PromptTooLong,
    RateLimited,
    RequestTooLarge,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from wire.errors import GatewayError

_WORDS: dict[type[GatewayError], tuple[str, str | None]] = {
    PromptTooLong: ("invalid_request_error", "context_length_exceeded"),
    InvalidRequest: ("invalid_request_error", None),
    MethodNotAllowed: ("invalid_request_error", None),
    RequestTooLarge: ("invalid_request_error", "request_too_large"),
    AuthenticationFailed: ("invalid_request_error", "invalid_api_key"),
    PermissionDenied: ("permission_error", None),
    BillingRequired: ("insufficient_quota", "insufficient_quota"),
    NotFound: ("invalid_request_error", "not_found"),
    RateLimited: ("rate_limit_error", "rate_limit_exceeded"),
    UpstreamTimeout: ("timeout_error", None),
    Overloaded: ("server_error", "overloaded"),
}
_DEFAULT = ("server_error", None)
_path = re.compile(r"([a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+)*): ").match


def openai_error(error: GatewayError) -> dict[str, Any]:
    """Give the error object; `param` is the path that a refused request's message begins with."""
    kind, code = next((words for cls, words in _WORDS.items() if isinstance(error, cls)), _DEFAULT)
    has_path = isinstance(error, InvalidRequest) and not isinstance(error, PromptTooLong)
    found = _path(error.message) if has_path else None
    return {
        "error": {
            "message": error.told,
            "type": kind,
            "param": found[1] if found else None,
            "code": code,
        }
    }


def openai_status(error: GatewayError) -> int:
    """Give the HTTP status: OpenAI's clients know 503, not Anthropic's 529."""
    return 503 if error.status_sent == 529 else error.status_sent


def encode_error(error: GatewayError) -> bytes:
    """Write the error as the SSE frame that ends a stream instead of `[DONE]`."""
    return b"data: %b\n\n" % orjson.dumps(openai_error(error))
