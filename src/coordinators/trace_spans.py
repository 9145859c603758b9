"""A request as OpenTelemetry spans, by the GenAI conventions. Imported by who sends traces: the SDK is big.

The request is one span: a server's, for it is how the gateway answered its caller, and the whole of the
operation, since a step ends where a stream only begins. Each step is a span within it; those that call
upstream are a client's and say whom they asked.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.re import parse_env_headers

from coordinators.genai import operation_of, provider_of
from coordinators.traces import Sender

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordinators.traces import Trace
    from express.runs import StepRecord
    from tasks.backend import Target

    Attributes = dict[str, Any]

CALLS = ("call_backend", "open_stream")
"""The steps that call upstream (`tasks.call`)."""

_random = random.Random()  # noqa: S311 - ids are unique, not secret
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_OK, _FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_USAGE = {
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_creation_input_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}
_OURS = ("attempts", "cache", "fallback", "cost_usd", "error_hash")


class SpanSender(Sender):
    """Sends traces to the collector at `url`, as OTLP over HTTP in protobuf.

    `headers` are written as in OTEL_EXPORTER_OTLP_HEADERS. `addresses` are the backends' base URLs. What
    else OpenTelemetry's variables say of the exporter (time-out, certificates, compression) holds.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: str | None,
        resource: Mapping[str, str],
        addresses: Mapping[str, str],
    ) -> None:
        # It logs each failure with its reason; one line until it is well again is enough.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        given = parse_env_headers(headers, liberal=True) if headers else None
        self._exporter = OTLPSpanExporter(endpoint=url, headers=given)
        self._spans = Spans(resource, addresses)

    def send(self, traces: Sequence[Trace]) -> bool:
        """Send their spans; blocks, for the exporter's time-out at most."""
        spans = [span for trace in traces for span in self._spans.of(trace)]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _OneResource(Resource):
    """A resource hashed by identity: the encoder asks for each span, and the SDK would write JSON for it."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Spans:
    """Makes spans of traces. `resource` are the resource's attributes; the environment's come before them."""

    def __init__(self, resource: Mapping[str, str], addresses: Mapping[str, str]) -> None:
        # `create` lets what it is given win over the environment: here it is the other way round.
        environment = Resource.create().attributes
        named = environment.get("service.name", "")
        ours = {name: value for name, value in resource.items() if name not in environment}
        if str(named).startswith("unknown_service"):
            ours["service.name"] = resource["service.name"]
        self._resource = _OneResource(Resource.create(ours).attributes)
        self._scope = InstrumentationScope("headgate", resource["service.version"])
        self._servers = {name: _server(url) for name, url in addresses.items()}

    def of(self, trace: Trace) -> list[ReadableSpan]:
        """Give the spans of one trace, the root first."""
        run, parent = trace.run, trace.parent
        trace_id = run.id.int if parent is None else parent.trace_id
        above = None if parent is None else _context(trace_id, parent.span_id, remote=True)
        root = self._span(
            _name(trace),
            _context(trace_id, _span_id()),
            above,
            kind=SpanKind.SERVER,
            attributes=self._root_attributes(trace),
            times=(run.start, run.end),
            failed=trace.error is not None and trace.status != 499,
        )
        spans, calls = [root], 0
        for step in run.steps:
            kind, attributes = SpanKind.INTERNAL, _step_attributes(step)
            if step.name.rpartition("-")[0] in CALLS:
                kind = SpanKind.CLIENT
                attributes |= self._call_attributes(trace, _asked_at(trace, calls))
                calls += 1
            spans.append(
                self._span(
                    step.name.rpartition("-")[0],
                    _context(trace_id, _span_id()),
                    root.context,
                    kind=kind,
                    attributes=attributes,
                    times=(step.start, step.end),
                    failed=step.state == "failed",
                )
            )
        return spans

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        *,
        kind: SpanKind,
        attributes: Attributes,
        times: tuple[int, int],
        failed: bool,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=kind,
            status=_FAILED if failed else _OK,
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=self._scope,
        )

    def _root_attributes(self, trace: Trace) -> Attributes:
        summary = trace.summary
        target = trace.tried[-1] if trace.tried else None
        told: Attributes = {
            "gen_ai.operation.name": operation_of(trace.flow),
            "gen_ai.provider.name": provider_of(target.backend) if target is not None else "headgate",
            "gen_ai.request.model": target.model if target is not None else trace.asked or None,
            "gen_ai.conversation.id": trace.session,
            "gen_ai.request.stream": trace.stream or None,
            **{f"gen_ai.request.{name}": value for name, value in trace.told.items()},
            "gen_ai.response.id": summary.get("generation_id"),
            "gen_ai.response.model": summary.get("response_model"),
            "gen_ai.response.finish_reasons": [stop] if (stop := summary.get("stop_reason")) else None,
            "gen_ai.response.time_to_first_chunk": _seconds(summary.get("ttft_ms")),
            "http.response.status_code": trace.status,
            "error.type": trace.error,
            "headgate.request_id": trace.request_id,
            "headgate.flow": trace.flow,
            "headgate.flow_run_id": str(trace.run.id),
            "headgate.asked_model": trace.asked or None,
            **{f"headgate.{name}": summary.get(name) for name in _OURS},
        }
        if target is not None:
            told |= self._servers.get(target.backend, {})
            told |= _usage(summary)
        return {name: value for name, value in told.items() if value is not None}

    def _call_attributes(self, trace: Trace, target: Target | None) -> Attributes:
        if target is None:
            return {}
        return {
            "gen_ai.operation.name": operation_of(trace.flow),
            "gen_ai.provider.name": provider_of(target.backend),
            "gen_ai.request.model": target.model,
            **self._servers.get(target.backend, {}),
        }


def _name(trace: Trace) -> str:
    model = trace.tried[-1].model if trace.tried else trace.asked
    return f"{operation_of(trace.flow)} {model[:120]}".rstrip()


def _context(trace_id: int, span_id: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=remote, trace_flags=_SAMPLED)


def _span_id() -> int:
    return _random.getrandbits(64) or 1


def _asked_at(trace: Trace, call: int) -> Target | None:
    """Give whom the call of this number, from 0, asked."""
    asked = None
    for target, before in zip(trace.tried, trace.calls_before, strict=False):
        if before <= call:
            asked = target
    return asked


def _step_attributes(step: StepRecord) -> Attributes:
    attributes: Attributes = {}
    if step.state == "cancelled":
        attributes["error.type"] = "cancelled"
    elif step.error is not None:
        attributes["error.type"] = step.error.partition(" ")[0].rstrip(":")  # the rest may quote the upstream
    return attributes


def _usage(summary: Mapping[str, Any]) -> Attributes:
    """Give the tokens. The conventions count all input as such, what was cached included."""
    told: Attributes = {name: summary.get(ours) for ours, name in _USAGE.items()}
    if (tokens := summary.get("input_tokens")) is not None:
        cached = (
            summary.get(name) or 0 for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
        )
        told["gen_ai.usage.input_tokens"] = tokens + sum(cached)
    return told


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _server(url: str) -> Attributes:
    parts = urlsplit(url)
    if not parts.hostname:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname, "server.port": port}
