"""A collector of traces: OTLP over HTTP in protobuf, on loopback, in a thread of the test."""

from __future__ import annotations

import gzip
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Span:
    """One span as it was received; `parent` is empty for a trace's first."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: int
    status: int
    start: int
    end: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str


class Collector:
    """Takes traces at `url`; answers `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.status == 200:
            assert request.path == "/v1/traces"
            assert request.headers["content-type"] == "application/x-protobuf"
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            self.spans += _spans(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        request.send_response(self.status)
        request.send_header("content-type", "application/x-protobuf")
        request.send_header("content-length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def wait(self, met: Callable[[list[Span]], bool], seconds: float = 60) -> list[Span]:
        limit = time.monotonic() + seconds
        while not met(self.spans):
            assert time.monotonic() < limit, self.spans
            time.sleep(0.05)
        return self.spans

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in any_value.array_value.values]
    return None if kind is None else getattr(any_value, kind)


def _attributes(pairs: Any) -> dict[str, Any]:
    told = {pair.key: _value(pair.value) for pair in pairs}
    assert len(told) == len(pairs), "an attribute twice"
    return told


def _spans(body: bytes) -> list[Span]:
    taken = ExportTraceServiceRequest.FromString(body)
    return [
        Span(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            kind=span.kind,
            status=span.status.code,
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            resource=_attributes(of.resource.attributes),
            scope=scoped.scope.name,
        )
        for of in taken.resource_spans
        for scoped in of.scope_spans
        for span in scoped.spans
    ]
