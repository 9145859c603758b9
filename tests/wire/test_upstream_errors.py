"""What an upstream's failure becomes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from wire.upstream_errors import from_chat_error, from_status, masked

KEY = "OPENROUTER_API_KEY"


def refusal(
    status: int,
    body: Any = None,
    headers: dict[str, str] | None = None,
    wire: Literal["messages", "chat"] = "chat",
) -> GatewayError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return from_status(status, raw, headers or {}, wire=wire, whose_key=KEY)


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, InvalidRequest, False),
        (401, KeyRefused, False),
        (402, BillingRequired, False),
        (403, KeyRefused, False),
        (404, NotFound, False),
        (408, UpstreamTimeout, True),
        (409, Conflict, True),
        (413, RequestTooLarge, False),
        (418, InvalidRequest, False),
        (422, InvalidRequest, False),
        (429, RateLimited, True),
        (500, UpstreamFailed, True),
        (502, UpstreamFailed, True),
        (503, Overloaded, True),
        (504, UpstreamTimeout, True),
        (524, UpstreamTimeout, True),
        (529, Overloaded, True),
        (302, UpstreamFailed, False),
    ],
)
@pytest.mark.parametrize("body", [said("no"), b"", b"<html><title>Bad\n gateway</title></html>"])
def test_each_status_has_its_error(status: int, kind: type[GatewayError], retryable: bool, body: Any) -> None:
    error = refusal(status, body)
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.status_sent == kind.status
    assert error.verbatim is None


@pytest.mark.parametrize(
    "text",
    [
        # llama.cpp, seen with a model without a projector
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "this model is missing data required for image input",  # Ollama
    ],
)
def test_a_500_that_blames_the_request_is_not_asked_again(text: str) -> None:
    error = refusal(500, said(text, code=500, type="server_error"))
    assert type(error) is InvalidRequest
    assert str(error) == text
    assert not error.retryable
    assert type(refusal(503, said(text))) is Overloaded


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    body: Any
    kind: type[GatewayError]
    message: str
    headers: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("plain", 400, said("bad model"), InvalidRequest, "bad model"),
    Case("text for an object", 400, {"error": "bad model"}, InvalidRequest, "bad model"),
    Case("Databricks", 404, {"error_code": "GONE", "message": "no endpoint"}, NotFound, "no endpoint"),
    Case("FastAPI", 422, {"detail": [{"loc": ["x"]}]}, InvalidRequest, '[{"loc":["x"]}]'),
    Case("no reason", 500, {}, UpstreamFailed, "the upstream answered 500 and gave no reason"),
    Case(
        "the provider's own words",
        429,
        said("Provider returned error", code=429, metadata={"raw": "slow down", "provider_name": "Groq"}),
        RateLimited,
        "Provider returned error: slow down (Groq)",
    ),
    Case(
        "JSON within text",
        400,
        said("Provider returned error", metadata={"raw": '{"error":{"message":"bad schema"}}'}),
        InvalidRequest,
        "Provider returned error: bad schema",
    ),
    Case("raw alone", 400, {"error": {"metadata": {"raw": {"a": 1}}}}, InvalidRequest, '{"a":1}'),
    Case("raw of no use", 400, said("bad", metadata={"raw": 7}), InvalidRequest, "bad"),
    Case("raw said twice", 400, said("bad", metadata={"raw": "bad"}), InvalidRequest, "bad"),
    Case(
        "our key",
        401,
        said("No auth credentials found"),
        KeyRefused,
        f"{KEY} was refused by the upstream: No auth credentials found",
    ),
    Case(
        "moderation is not about the key",
        403,
        said("flagged", metadata={"reasons": ["violence"], "flagged_input": "…"}),
        PermissionDenied,
        "flagged",
    ),
    Case("in a 200, with a code", 200, said("slow", code=429), RateLimited, "slow"),
    Case("in a 200, with a code in text", 200, said("slow", code="503"), Overloaded, "slow"),
    Case("in a 200, with a type", 200, said("slow", type="overloaded_error"), Overloaded, "slow"),
    Case("in a 200, without", 200, said("what", code="oops"), UpstreamFailed, "what"),
    Case("empty", 200, b"", UpstreamFailed, "the upstream answered 200 with an empty body"),
    Case("a page", 502, b"<html>no</html>", UpstreamFailed, "the upstream answered 502 with an HTML page"),
    Case(
        "a titled page",
        503,
        b"<html><title>Just a\n moment</title>",
        Overloaded,
        "the upstream answered 503 with an HTML page (Just a moment)",
    ),
    Case(
        "text",
        500,
        b"upstream on fire",
        UpstreamFailed,
        "the upstream answered 500 with what is no JSON: upstream on fire",
    ),
    Case(
        "half of an answer",
        200,
        b'{"type": "message", "content": [{"type": "text", "text": "Words for the client',
        UpstreamFailed,
        "the upstream answered 200 with 78 bytes that are no JSON object",
    ),
    Case("a list", 500, b"[1]", UpstreamFailed, "the upstream answered 500 with what is no JSON: [1]"),
    Case(
        "overflow",
        400,
        said("Input is too long for requested model."),
        PromptTooLong,
        "prompt is too long: Input is too long for requested model.",
    ),
    Case(
        "overflow by code",
        400,
        said("Too many words", code="context_length_exceeded"),
        PromptTooLong,
        "prompt is too long: Too many words (context_length_exceeded)",
    ),
    Case(
        "overflow counted beside",
        400,
        said("no", n_prompt_tokens=9000, n_ctx=8192),
        PromptTooLong,
        "prompt is too long: 9000 tokens > 8192 maximum",
    ),
    Case(
        "overflow in 413",
        413,
        said("prompt is too long: 9 tokens > 8 maximum"),
        PromptTooLong,
        "prompt is too long: 9 tokens > 8 maximum",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_says(case: Case) -> None:
    error = refusal(case.status, case.body, case.headers)
    assert (type(error), error.message) == (case.kind, case.message)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("3600", 60.0),
        ("-3", 0.0),
        ("inf", 60.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        pytest.param(formatdate(time.time() + 7200, usegmt=True), 60.0, id="a date to come"),
        pytest.param(formatdate(0, usegmt=True), 0.0, id="a date past"),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert refusal(429, said("slow"), {"retry-after": value}).retry_after == seconds
    assert refusal(503, b"<html>", {"retry-after": value}).retry_after == seconds


def test_obeys_x_should_retry() -> None:
    assert not refusal(503, said("no"), {"x-should-retry": "false"}).retryable
    assert refusal(503, said("no"), {"x-should-retry": "true"}).retryable


@pytest.mark.parametrize("body", [said("no"), anthropic("overloaded_error", "no"), b"<html></html>", b""])
@pytest.mark.parametrize("wire", ["messages", "chat"])
def test_the_client_is_told_not_to_try_again_if_we_are(body: Any, wire: Literal["messages", "chat"]) -> None:
    assert refusal(503, body, {"x-should-retry": "false"}, wire).final
    assert not refusal(503, body, {"x-should-retry": "true"}, wire).final
    assert not refusal(503, body, {}, wire).final


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (429, "rate_limit_error"), (529, "overloaded_error")],
)
def test_the_messages_wire_keeps_anthropics_body(status: int, kind: str) -> None:
    raw = json.dumps(anthropic(kind, "as it is")).encode()
    error = refusal(status, raw, wire="messages")
    assert error.verbatim == raw
    assert error.status_sent == status
    assert refusal(status, raw, wire="chat").verbatim is None


@pytest.mark.parametrize(
    "text",
    [
        "prompt is too long: 9 tokens > 8 maximum",
        "input length and `max_tokens` exceed context limit: 7 + 2 > 8, decrease them",
    ],
)
def test_the_messages_wire_keeps_wordings_that_claude_code_knows(text: str) -> None:
    raw = json.dumps(anthropic("invalid_request_error", text)).encode()
    assert refusal(400, raw, wire="messages").verbatim == raw


@pytest.mark.parametrize(
    "body",
    [
        anthropic(
            "invalid_request_error", "This model's maximum context length is 8 tokens, you requested 9"
        ),
        anthropic("invalid_request_error", "you sent sk-or-v1-0123456789abcdef"),
        {"type": "error", "error": {"type": 7, "message": "x"}},
        {"type": "error", "error": {"type": "api_error"}},
        {"type": "error", "error": "x"},
        said("x"),
    ],
)
def test_the_messages_wire_rewrites_every_other_body(body: dict[str, Any]) -> None:
    assert refusal(400, body, wire="messages").verbatim is None


@pytest.mark.parametrize("status", [401, 403])
def test_our_refused_key_is_never_the_clients(status: int) -> None:
    error = refusal(status, anthropic("authentication_error", "invalid x-api-key"), wire="messages")
    assert error.verbatim is None
    assert error.status_sent == 403
    assert KEY in error.message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-or-v1-0123456789abcdef is bad", "key [hidden key] is bad"),
        ("sent Bearer abc123def", "sent Bearer [hidden key]"),
        ("token dapi0123456789abcdef0123", "token [hidden key]"),
        ("AIzaSyA0123456789abcdefghij", "[hidden key]"),
        ("hf_abcdefghij0123456789", "[hidden key]"),
        ("Bearer authentication is required; risk-averse keyboard_interrupt_handler", None),
    ],
)
def test_hides_keys(text: str, shown: str | None) -> None:
    assert masked(text) == (shown or text)
    assert refusal(400, said(text)).message == (shown or text)


def test_an_error_in_mid_stream() -> None:
    error = from_chat_error({"code": 402, "message": "no credit"})
    assert (type(error), error.message) == (BillingRequired, "no credit")


def test_an_error_nested_too_deep_to_write_is_an_error_all_the_same() -> None:
    deep = b'{"error":{"message":' + b"[" * 400 + b"]" * 400 + b"}}"
    assert refusal(500, deep).message == "the upstream answered 500 and gave no reason"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "metadata", "raw", "status", "detail", "n_ctx"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.no_cover  # tracing takes twice its time, and others run the same lines
@given(JSON, st.integers(200, 599), st.sampled_from(["messages", "chat"]))
def test_any_body_gives_an_error(body: Any, status: int, wire: Literal["messages", "chat"]) -> None:
    error = refusal(status, body, wire=wire)
    assert isinstance(error, GatewayError)
    assert error.status_sent >= 400 or status < 400
