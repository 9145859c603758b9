"""Traces of a real server at a real collector, held against the published conventions."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes.otlp_collector import Collector
from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeBackends, FakeOpenRouter
    from tests.fakes.otlp_collector import Span

MODEL = "anthropic/claude-sonnet-4"
PROMPT, ANSWER = "a very private question", "a very private answer"
INTERNAL, SERVER, CLIENT = 1, 2, 3
UNSET, ERROR = 0, 2

# The published conventions (GenAI spans, general attributes), as far as they can apply here.
CONVENTIONS: dict[str, type | tuple[type, ...]] = {
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.conversation.id": str,
    "gen_ai.request.model": str,
    "gen_ai.request.stream": bool,
    "gen_ai.request.max_tokens": int,
    "gen_ai.request.temperature": (int, float),
    "gen_ai.request.top_p": (int, float),
    "gen_ai.request.top_k": (int, float),
    "gen_ai.response.id": str,
    "gen_ai.response.model": str,
    "gen_ai.response.finish_reasons": list,
    "gen_ai.response.time_to_first_chunk": float,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
    "gen_ai.usage.cache_creation.input_tokens": int,
    "gen_ai.usage.reasoning.output_tokens": int,
    "server.address": str,
    "server.port": int,
    "error.type": str,
    "http.response.status_code": int,
}
WELL_KNOWN = {"anthropic", "openai", "gcp.gemini", "cohere", "mistral_ai", "azure.ai.openai", "aws.bedrock"}
CUSTOM = {"openrouter", "databricks", "openai_compatible", "litellm", "demo", "headgate"}


def unconventional(span: Span) -> list[str]:
    """List what of a span the conventions do not know, or miss."""
    told = span.attributes
    found = [
        f"{name}={value!r}"
        for name, value in told.items()
        if not name.startswith("headgate.") and not (name in CONVENTIONS and _is(value, CONVENTIONS[name]))
    ]
    if span.kind in {SERVER, CLIENT}:
        found += [
            f"no {name}"
            for name in ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
            if name not in told
        ]
        if told.get("gen_ai.operation.name") != "chat":
            found.append("an operation that is none")
        if told.get("gen_ai.provider.name") not in WELL_KNOWN | CUSTOM:
            found.append("a provider that is none")
    if "server.address" in told and "server.port" not in told:
        found.append("an address without its port")
    if span.status == ERROR and "error.type" not in told:
        found.append("an error without its type")
    if any(key.startswith(("gen_ai.input", "gen_ai.output.m", "gen_ai.system_ins")) for key in told):
        found.append("content")
    return found


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced_at() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(openrouter_process: FakeOpenRouter, traced_at: Collector) -> Iterator[GatewayProcess]:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": traced_at.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=ours,authorization=Basic%20abc",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        "HEADGATE_RETRIES": "1",
    }
    with gateway_on(openrouter_process, OPENROUTER_WIRE="messages", **settings) as gateway:
        yield gateway


def ask(
    gateway: GatewayProcess, *, stream: bool = False, model: str = "big", **headers: str
) -> httpx.Response:
    body = {
        "model": "big", "max_tokens": 50, "temperature": 0.5, "stream": stream,
        "messages": [{"role": "user", "content": PROMPT}],
    }  # fmt: skip
    return httpx.post(f"{gateway.url}/v1/messages", json=body, headers=headers)


def trace_of(collector: Collector, answer: httpx.Response) -> tuple[Span, list[Span]]:
    """Give the first span of a request's trace, and its others, once all have come."""
    name = answer.headers["request-id"]

    def roots(spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.attributes.get("headgate.request_id") == name]

    root = roots(collector.wait(lambda spans: bool(roots(spans))))[0]
    return root, [span for span in collector.spans if span.trace_id == root.trace_id and span is not root]


def test_a_request_is_a_span_and_each_of_its_steps_one_within(
    traced: GatewayProcess, traced_at: Collector, openrouter: FakeOpenRouter
) -> None:
    usage = {"input": 100, "output": 20, "cached": 30, "written": 7}
    openrouter.script({"text": ANSWER, "usage": usage})
    root, steps = trace_of(traced_at, ask(traced, **{"x-claude-code-session-id": "s1"}))
    assert (root.name, root.kind, root.status, root.parent) == (f"chat {MODEL}", SERVER, UNSET, "")
    told = root.attributes
    assert told["gen_ai.provider.name"] == "openrouter"
    assert told["gen_ai.request.model"] == MODEL
    assert told["gen_ai.request.max_tokens"] == 50
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.usage.input_tokens"] == 137
    assert told["gen_ai.usage.output_tokens"] == 20
    assert told["gen_ai.usage.cache_read.input_tokens"] == 30
    assert told["gen_ai.usage.cache_creation.input_tokens"] == 7
    assert told["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert told["gen_ai.response.model"]
    assert told["gen_ai.conversation.id"] == "s1"
    assert told["http.response.status_code"] == 200
    assert "gen_ai.request.stream" not in told
    assert told["headgate.flow_run_id"].replace("-", "") == root.trace_id
    names = [step.name for step in steps]
    assert names[0] == "validate_request"
    assert {"resolve_model", "call_backend", "render_message"} <= set(names)
    assert {step.parent for step in steps} == {root.span_id}
    assert all(root.start <= step.start <= step.end <= root.end for step in steps)
    (call,) = [step for step in steps if step.kind == CLIENT]
    assert call.name == "call_backend"
    assert call.attributes["server.address"] == "127.0.0.1"
    assert call.attributes["server.port"] == openrouter.port
    assert {step.kind for step in steps} == {INTERNAL, CLIENT}
    assert [unconventional(span) for span in (root, *steps)] == [[]] * (len(steps) + 1)
    assert root.resource["service.name"] == "headgate"
    assert root.resource["deployment.environment.name"] == "tests"
    assert root.scope == "headgate"
    assert traced_at.headers[0]["x-tenant"] == "ours"
    assert traced_at.headers[0]["authorization"] == "Basic abc"


def test_a_stream_lasts_until_its_last_byte(
    traced: GatewayProcess, traced_at: Collector, openrouter: FakeOpenRouter
) -> None:
    openrouter.script({"text": ANSWER, "delay": 0.02})
    root, steps = trace_of(traced_at, ask(traced, stream=True))
    told = root.attributes
    assert told["gen_ai.request.stream"] is True
    assert told["gen_ai.response.time_to_first_chunk"] > 0
    relay = next(step for step in steps if step.name == "relay_stream")
    opened = next(step for step in steps if step.name == "open_stream")
    assert opened.kind == CLIENT
    assert opened.end <= relay.start < relay.end <= root.end
    assert [unconventional(span) for span in (root, *steps)] == [[]] * (len(steps) + 1)


def test_the_callers_trace_is_continued(
    traced: GatewayProcess, traced_at: Collector, openrouter: FakeOpenRouter
) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    root, steps = trace_of(traced_at, ask(traced, traceparent=f"00-{trace_id}-{span_id}-01"))
    assert (root.trace_id, root.parent) == (trace_id, span_id)
    assert {step.parent for step in steps} == {root.span_id}
    assert "traceparent" not in openrouter.requests("messages")[-1]["headers"]


def test_a_caller_that_does_not_record_is_not_recorded(traced: GatewayProcess, traced_at: Collector) -> None:
    trace_id = "1" * 32
    ask(traced, traceparent=f"00-{trace_id}-{'2' * 16}-00")
    trace_of(traced_at, ask(traced))
    assert not [span for span in traced_at.spans if span.trace_id == trace_id]


def test_failures_say_what_kind_they_are_and_each_call_is_seen(
    traced: GatewayProcess, traced_at: Collector, openrouter: FakeOpenRouter
) -> None:
    openrouter.script({"status": 503, "message": PROMPT, "headers": {"retry-after": "0"}, "times": 0})
    root, steps = trace_of(traced_at, ask(traced))
    assert (root.status, root.attributes["http.response.status_code"]) == (ERROR, 503)
    assert root.attributes["error.type"] == "Overloaded"
    calls = [step for step in steps if step.kind == CLIENT]
    assert [call.attributes["error.type"] for call in calls] == ["Overloaded", "Overloaded"]
    assert {call.status for call in calls} == {ERROR}
    assert [unconventional(span) for span in (root, *steps)] == [[]] * (len(steps) + 1)


def test_nothing_of_what_was_said_is_in_a_trace(
    traced: GatewayProcess, traced_at: Collector, openrouter: FakeOpenRouter
) -> None:
    openrouter.script({"text": ANSWER, "reasoning": ANSWER}, {"status": 400, "message": PROMPT})
    answers = [ask(traced), ask(traced), ask(traced, stream=True)]
    for answer in answers:
        trace_of(traced_at, answer)
    sent = b"".join(traced_at.bodies)
    for secret in (PROMPT, ANSWER, "sk-or-v1-ours", "private"):
        assert secret.encode() not in sent


def test_a_fallbacks_calls_are_told_apart(
    openrouter: FakeOpenRouter, backends: FakeBackends, collector: Collector
) -> None:
    settings = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
        "HEADGATE_RETRIES": "0",
        "HEADGATE_FALLBACKS": '{"big": "anthropic:claude-sonnet-4-5"}',
        **backends.anthropic,
    }
    openrouter.script({"status": 503, "message": "no", "times": 0})
    with gateway_on(openrouter, PROXY_BACKEND="OPENROUTER", **settings) as gateway:
        root, steps = trace_of(collector, ask(gateway))
    calls = [step.attributes for step in steps if step.kind == CLIENT]
    assert [call["gen_ai.provider.name"] for call in calls] == ["openrouter", "anthropic"]
    assert [call["server.port"] for call in calls] == [openrouter.port, backends.port]
    assert root.attributes["gen_ai.provider.name"] == "anthropic"
    assert root.attributes["headgate.fallback"].startswith("anthropic:")


def test_what_is_queued_is_sent_at_the_end(openrouter: FakeOpenRouter, collector: Collector) -> None:
    with gateway_on(openrouter, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as gateway:
        answers = [ask(gateway) for _ in range(3)]
    names = {span.attributes.get("headgate.request_id") for span in collector.spans}
    assert {answer.headers["request-id"] for answer in answers} <= names


def test_a_collector_that_is_not_there_costs_what_is_queued_and_nothing_else(
    openrouter: FakeOpenRouter,
) -> None:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with gateway_on(openrouter, whole=True, **settings) as gateway:
        assert {ask(gateway).status_code for _ in range(5)} == {200}
        limit = time.monotonic() + 60
        while "headgate_traces_dropped_total 5.0" not in (text := httpx.get(f"{gateway.url}/metrics").text):
            assert time.monotonic() < limit, text
            time.sleep(0.1)
        assert ask(gateway).status_code == 200
        assert gateway.stop() == 0
        log = gateway.log()
    assert log.count("traces cannot be sent") == 1
    assert "Traceback" not in log


def test_the_sdk_is_not_loaded_for_nothing() -> None:
    code = (
        "import sys, headgate.web; print([name for name in sys.modules"
        " if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter', 'coordinators.trace_spans'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
