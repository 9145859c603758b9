"""What went wrong upstream, as the error that our client sees.

| upstream | ours |
|---|---|
| 400, 422, other 4xx | 400 invalid_request_error; context overflow in Claude Code's wording |
| 401, 403 | 403 permission_error that names our key: Claude Code retries a 401 ten times, a 403 never |
| 402 | 402 billing_error |
| 404 | 404 not_found_error |
| 408, 504, 524 | 504 timeout_error |
| 409 | 409 invalid_request_error |
| 413 | 413 request_too_large |
| 429 | 429 rate_limit_error |
| 503, 529 | 529 overloaded_error |
| 500 that blames the request (an image for a model that sees none) | 400 invalid_request_error |
| everything else, HTML, an empty body | 500 api_error |
"""

from __future__ import annotations

import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

import orjson

from wire.errors import (
    BillingRequired,
    Conflict,
    GatewayError,
    InvalidRequest,
    KeyRefused,
    NotFound,
    Overloaded,
    PermissionDenied,
    PromptTooLong,
    RateLimited,
    RequestTooLarge,
    UpstreamFailed,
    UpstreamTimeout,
)
from wire.overflow import is_anthropic_overflow, overflow_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wire.messages import Json

LONGEST_WAIT = 60.0
"""Seconds of `retry-after`: Claude Code gives up at 61."""

_LONGEST_TEXT = 4000
_SHORTEST_SECRET = 6
_known: set[str] = set()
"""Our own keys, of which many have no form that could be told from other words."""

_CLASSES: dict[int, type[GatewayError]] = {
    401: PermissionDenied,
    402: BillingRequired,
    403: PermissionDenied,
    404: NotFound,
    408: UpstreamTimeout,
    409: Conflict,
    413: RequestTooLarge,
    429: RateLimited,
    503: Overloaded,
    504: UpstreamTimeout,
    524: UpstreamTimeout,  # Cloudflare's
    529: Overloaded,
}
STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "invalid_api_key": 401,
}
_OVERFLOWS = frozenset({400, 413, 422, 500, 502})
"""Statuses with which a prompt is found too long; 502 also stands for an error that says no status."""

_BLAMES_THE_REQUEST = re.compile(
    r"\b(?:image|audio|video) input is not supported"  # llama.cpp
    r"|missing data required for image input",  # Ollama
    re.IGNORECASE,
)
"""What servers say with a 500 though nothing of theirs has failed: asking again is of no use."""

_SECRETS = re.compile(
    r"(?P<bearer>\bbearer\s+)(?=[^\s\"',;]*\d)[^\s\"',;]{6,}"
    r"|\b(?:pk|rk|gsk|xai|hf)[-_](?=[A-Za-z0-9_*-]*\d)[A-Za-z0-9_*-]{16,}"
    r"|\bdapi[0-9a-f]{16,}"
    r"|\bAIza[A-Za-z0-9_-]{16,}"
    r"|\bsk-[^\s\"',;]{8,}",
    re.IGNORECASE,
)


def from_status(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    wire: Literal["messages", "chat"],
    whose_key: str,
) -> GatewayError:
    """Give the error for an HTTP answer that is none, status 200 included; `headers` in lower case.

    On the messages wire an error body in Anthropic's form is passed on as it is (Claude Code matches its
    wording), unless it is about our key, or says in foreign words that the prompt is too long.
    """
    parsed = _parsed(body)
    if parsed is None:
        return _unreadable(status, body, headers)
    error = _error_of(parsed)
    if status == 200:
        status = _status_of(error)
    made = _make(status, error, headers, whose_key)
    if wire == "messages" and _keeps(parsed, body) and not isinstance(made, PermissionDenied):
        text = text_of_error(error)
        if not isinstance(made, PromptTooLong) or is_anthropic_overflow(text):
            made.verbatim = body
            made.status_sent = status
    return made


def from_chat_error(
    error: Json, *, whose_key: str = "the upstream key", headers: Mapping[str, str] | None = None
) -> GatewayError:
    """Give the error for an error object that came with status 200 or in mid-stream."""
    return _make(_status_of(error), error, headers or {}, whose_key)


def text_of_error(error: Json) -> str:
    """Give an error object's message, and the provider's own words if OpenRouter has them."""
    message = error.get("message")
    text = message if isinstance(message, str) else "" if message is None else _dumped(message)
    metadata = error.get("metadata")
    if isinstance(metadata, dict):
        raw = _raw_text(metadata.get("raw"))
        if raw and raw not in text:
            text = f"{text}: {raw}" if text else raw
        provider = metadata.get("provider_name")
        if isinstance(provider, str) and provider and text:
            text = f"{text} ({provider})"
    return masked(text)[:_LONGEST_TEXT]


def hide(secrets: Iterable[str]) -> None:
    """Have these hidden wherever an upstream's words have them, in this process, from now on."""
    _known.update(one for one in secrets if len(one) >= _SHORTEST_SECRET)


def masked(text: str) -> str:
    """Hide our keys, and what looks like one: some upstreams echo the one they refuse."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "[hidden key]")
    return _SECRETS.sub(lambda found: (found["bearer"] or "") + "[hidden key]", text)


def _make(status: int, error: Json, headers: Mapping[str, str], whose_key: str) -> GatewayError:
    text = text_of_error(error) or f"the upstream answered {status} and gave no reason"
    retryable = _retryable(status, headers)
    wait = _retry_after(headers)
    if status in _OVERFLOWS and (overflow := overflow_message(_with_counts(error, text))):
        return PromptTooLong(overflow)
    if status == 500 and _BLAMES_THE_REQUEST.search(text):
        return InvalidRequest(text)
    if status in {401, 403} and not _is_moderation(error):
        text = f"{whose_key} was refused by the upstream: {text}"
        return KeyRefused(text, retry_after=wait)
    made = _class_of(status)(text, retry_after=wait, retryable=retryable)
    made.final = _is_final(headers)
    return made


def _class_of(status: int) -> type[GatewayError]:
    if status in _CLASSES:
        return _CLASSES[status]
    return InvalidRequest if 400 <= status < 500 else UpstreamFailed


def _retryable(status: int, headers: Mapping[str, str]) -> bool:
    return (status in {408, 409, 429} or status >= 500) and not _is_final(headers)


def _is_final(headers: Mapping[str, str]) -> bool:
    """Say whether the upstream wants nobody to send the call again, neither us nor the client."""
    return headers.get("x-should-retry", "").strip().lower() == "false"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `retry-after`, in seconds or as a date, within what Claude Code waits."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _parsed(body: bytes) -> Json | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _error_of(parsed: Json) -> Json:
    """Find a body's error object: `{error: {…}}`, `{error: "…"}`, Databricks's `{error_code, message}`."""
    error = parsed.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {"message": error}
    text = parsed.get("message") or parsed.get("detail")
    return {"message": text, "code": parsed.get("error_code") or parsed.get("code")}


def _status_of(error: Json) -> int:
    """Find the HTTP status that an error object stands for; 502 if it does not say."""
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, str) and len(value) == 3 and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
        if isinstance(value, str) and value in STATUS_OF_TYPE:
            return STATUS_OF_TYPE[value]
    return 502


def _unreadable(status: int, body: bytes, headers: Mapping[str, str]) -> GatewayError:
    """Give the error for HTML, plain text or nothing; a page's markup is of no use to the client."""
    text = body[:_LONGEST_TEXT].decode("utf-8", "replace").strip()
    if not text:
        said = "an empty body"
    elif text.startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        said = f"an HTML page ({masked(' '.join(title[1].split()))[:300]})" if title else "an HTML page"
    elif status == 200:  # a part of an answer, whose words are the client's and no log's
        said = f"{len(body)} bytes that are no JSON object"
    else:
        said = f"what is no JSON: {masked(text)[:300]}"
    told = 502 if status == 200 else status
    kind = KeyRefused if told in {401, 403} else _class_of(told)
    made = kind(
        f"the upstream answered {status} with {said}",
        retryable=_retryable(told, headers),
        retry_after=_retry_after(headers),
    )
    made.final = _is_final(headers)
    return made


def _keeps(parsed: Json, body: bytes) -> bool:
    """Say whether a body is Anthropic's error form and holds no secret."""
    error = parsed.get("error")
    if parsed.get("type") != "error" or not isinstance(error, dict):
        return False
    if not isinstance(error.get("type"), str) or not isinstance(error.get("message"), str):
        return False
    text = body.decode("utf-8", "replace")
    return masked(text) == text


def _is_moderation(error: Json) -> bool:
    """Say whether a 403 is about the input, not the key."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and ("flagged_input" in metadata or "reasons" in metadata)


def _with_counts(error: Json, text: str) -> str:
    """Add what llama.cpp tells beside its message."""
    got, limit = error.get("n_prompt_tokens"), error.get("n_ctx")
    if isinstance(got, int) and isinstance(limit, int):
        return f"request ({got} tokens) exceeds the available context size ({limit} tokens)"
    code = error.get("code")
    return f"{text} ({code})" if code == "context_length_exceeded" else text


def _raw_text(raw: Any) -> str:
    """Give the provider's own error text: OpenRouter keeps it as text, often JSON within text."""
    if isinstance(raw, str):
        inner = _parsed(raw.encode("utf-8", "replace"))
        if inner is None:
            return raw.strip()
        raw = inner
    if not isinstance(raw, dict):
        return ""
    return text_of_error(_error_of(raw)) or _dumped(raw)


def _dumped(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than orjson writes
        return ""
