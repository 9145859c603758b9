"""The errors a client can see.

GatewayError
 ├─ InvalidRequest        400 invalid_request_error
 │   ├─ UnsupportedContent    (has no form on the backend's wire)
 │   └─ PromptTooLong         (Claude Code compacts on its wording)
 ├─ AuthenticationFailed  401 authentication_error
 ├─ BillingRequired       402 billing_error
 ├─ PermissionDenied      403 permission_error
 │   └─ KeyRefused            (the upstream refused our key, not the request)
 ├─ NotFound              404 not_found_error
 ├─ MethodNotAllowed      405 invalid_request_error
 ├─ Conflict              409 invalid_request_error
 │   └─ KeyReused             (an idempotency key, with another body)
 ├─ RequestTooLarge       413 request_too_large
 ├─ RateLimited           429 rate_limit_error
 ├─ UpstreamFailed        500 api_error
 ├─ UpstreamTimeout       504 timeout_error
 └─ Overloaded            529 overloaded_error
"""

from __future__ import annotations

from typing import Any, ClassVar


class GatewayError(Exception):
    """An error with an HTTP status and an Anthropic `error.type`.

    `retry_after` is in seconds. `retryable` says that the same call may succeed if it is sent
    again now. `verbatim` is an upstream's own error body, passed to the client unmodified;
    `status_sent` is then the upstream's own status where it differs from the class's. `final` tells the
    client not to send the call again, where its status alone would say that it may. `hash` says where in the
    code it was raised; who writes errors down sets it. Only where `quotes` is false is the message known to
    hold nothing of the request. `unreached` says that there was no connection, so that it is nothing about
    the model that was asked for.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    final: bool = False
    quotes: bool = True

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        retryable: bool = False,
        verbatim: bytes | None = None,
        status_sent: int | None = None,
        unreached: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.retryable = retryable
        self.verbatim = verbatim
        self.status_sent = status_sent or self.status
        self.unreached = unreached
        self.hash: str | None = None

    @property
    def told(self) -> str:
        """What the client is told: with its hash, where the failure is ours, to find it in our records."""
        if self.hash is None or self.verbatim is not None or self.status_sent < 500:
            return self.message
        return f"{self.message} [error {self.hash}]"


class InvalidRequest(GatewayError):
    """The request is wrong; the message begins with the field's path (`messages.3.content.0: …`)."""

    status = 400
    type = "invalid_request_error"


class UnsupportedContent(InvalidRequest):
    """The content is valid, but has no form on the wire of the backend that would answer it."""


class PromptTooLong(InvalidRequest):
    """The prompt exceeds the model's context, in the wording that Claude Code acts on."""


class AuthenticationFailed(GatewayError):
    """The client's key is missing or wrong."""

    status = 401
    type = "authentication_error"
    quotes = False


class BillingRequired(GatewayError):
    """The upstream account has no credit left."""

    status = 402
    type = "billing_error"


class PermissionDenied(GatewayError):
    """The upstream refused our key, or what the key asks for."""

    status = 403
    type = "permission_error"


class KeyRefused(PermissionDenied):
    """The upstream refused our key: another key, or another backend, may do."""


class NotFound(GatewayError):
    """No such route, model or object."""

    status = 404
    type = "not_found_error"


class MethodNotAllowed(GatewayError):
    """The route exists, the method does not."""

    status = 405
    type = "invalid_request_error"


class Conflict(GatewayError):
    """The upstream answered 409: a conflict that another try may not meet."""

    status = 409
    type = "invalid_request_error"


class KeyReused(Conflict):
    """The idempotency key was used with another body. It will be so again: clients retry a usual 409."""

    final = True


class RequestTooLarge(GatewayError):
    """The body exceeds the limit."""

    status = 413
    type = "request_too_large"


class RateLimited(GatewayError):
    """Too many requests; `retry_after` says when to come back, if the upstream did."""

    status = 429
    type = "rate_limit_error"


class UpstreamFailed(GatewayError):
    """The upstream failed, or answered what cannot be understood."""

    status = 500
    type = "api_error"


class UpstreamTimeout(GatewayError):
    """The upstream did not answer in time."""

    status = 504
    type = "timeout_error"


class Overloaded(GatewayError):
    """The upstream, or this gateway, has no room for the request now."""

    status = 529
    type = "overloaded_error"


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    """Give the Anthropic error object for a response body or an SSE `error` event."""
    return {
        "type": "error",
        "error": {"type": error.type, "message": error.told},
        "request_id": request_id,
    }
