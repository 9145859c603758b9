"""Our errors in OpenAI's form."""

from __future__ import annotations

import pytest

from wire.errors import (
    AuthenticationFailed,
    GatewayError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PromptTooLong,
    RateLimited,
    UnsupportedContent,
    UpstreamFailed,
)
from wire.openai_errors import openai_error, openai_status


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (
            InvalidRequest("messages.3.content.0: bad"),
            400,
            "invalid_request_error",
            "messages.3.content.0",
            None,
        ),
        (UnsupportedContent("n: a Message is one answer"), 400, "invalid_request_error", "n", None),
        (InvalidRequest("something: else"), 400, "invalid_request_error", "something", None),
        (InvalidRequest("There is no path here"), 400, "invalid_request_error", None, None),
        (
            PromptTooLong("prompt is too long: 5 tokens > 3 maximum"),
            400,
            "invalid_request_error",
            None,
            "context_length_exceeded",
        ),
        (AuthenticationFailed("no"), 401, "invalid_request_error", None, "invalid_api_key"),
        (NotFound("model: unknown"), 404, "invalid_request_error", None, "not_found"),
        (RateLimited("slow"), 429, "rate_limit_error", None, "rate_limit_exceeded"),
        (UpstreamFailed("broken"), 500, "server_error", None, None),
        (Overloaded("full"), 503, "server_error", None, "overloaded"),
        (GatewayError("broken", status_sent=502), 502, "server_error", None, None),
    ],
)
def test_table(error: GatewayError, status: int, kind: str, param: str | None, code: str | None) -> None:
    assert openai_status(error) == status
    assert openai_error(error) == {
        "error": {"message": error.message, "type": kind, "param": param, "code": code}
    }
