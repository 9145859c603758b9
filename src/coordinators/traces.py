"""Requests as OpenTelemetry traces: taken down when they have ended, sent by a thread of their own.

Nothing of OpenTelemetry's SDK is loaded before the first trace. A request costs a tuple in a queue; beyond
so many a second the others are left out, those that failed apart. While no collector answers, what is queued
is lost, and nothing else.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import structlog

from express.recorder import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coordinators.observing import Ending
    from express import Run
    from tasks.backend import Target

_log = structlog.get_logger("headgate.traces")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_REQUEST = ("max_tokens", "temperature", "top_p", "top_k")
_LONGEST = 200
QUEUE = 1000
BATCH = 32  # encoding holds the interpreter for some milliseconds
SEND_SECONDS = 1.0
_FLUSH_SECONDS = 3.0


class Parent(NamedTuple):
    """The caller's span, as its `traceparent` names it."""

    trace_id: int
    span_id: int
    sampled: bool


class Trace(NamedTuple):
    """One request as its trace shows it: names, numbers and times, never content."""

    run: Run
    flow: str
    request_id: str
    parent: Parent | None
    session: str | None
    asked: str
    stream: bool
    told: Mapping[str, float]
    tried: Sequence[Target]
    calls_before: Sequence[int]
    status: int
    error: str | None
    summary: Mapping[str, Any]


def parent_of(traceparent: str | None) -> Parent | None:
    """Read a `traceparent` header; None if it is none that W3C's rules let pass."""
    if traceparent is None or (found := _TRACEPARENT.fullmatch(traceparent.strip())) is None:
        return None
    version, trace, span, flags, more = found.groups()
    trace_id, span_id = int(trace, 16), int(span, 16)
    if version == "ff" or not trace_id or not span_id or (version == "00" and more):
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1))


def trace_of(ending: Ending, parent: Parent | None) -> Trace:
    """Take down what a request's trace shows."""
    exchange = ending.exchange
    body = exchange.body or {}
    error = ending.error
    return Trace(
        run=ending.run,
        flow=ending.flow,
        request_id=exchange.id,
        parent=parent,
        session=session[:_LONGEST] if (session := exchange.session) else None,
        asked=exchange.model[:_LONGEST],
        stream=exchange.stream,
        told={name: value for name in _REQUEST if isinstance(value := body.get(name), int | float)},
        tried=exchange.tried,
        calls_before=exchange.calls_before,
        status=ending.status,
        error=None if error is None else "cancelled" if ending.status == 499 else type(error).__name__,
        summary=ending.summary,
    )


class Traces:
    """Sends a trace for each request (`coordinators.observing.Observer`).

    `make` makes what sends them: called once, in the sending thread.
    `rate` is how many traces a second there are at most, those that failed apart.
    """

    def __init__(self, make: Callable[[], Sender], *, rate: float) -> None:
        self._make = make
        self._sender: Sender | None = None
        self._queue: deque[Trace] = deque()
        most = max(1.0, rate)
        self._allowances = {False: Allowance(most, rate), True: Allowance(most, rate)}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._trouble = False
        self.sent = self.dropped = self.sampled_out = 0

    @property
    def queued(self) -> int:
        """How many wait to be sent."""
        return len(self._queue)

    @property
    def state(self) -> Literal["idle", "ok", "down"]:
        """How the collector is, as far as was seen; `idle` before the first trace."""
        return "down" if self._trouble else "idle" if self._thread is None else "ok"

    def ended(self, ending: Ending) -> None:
        """Queue a request's trace, unless its caller does not record it or there are too many."""
        parent = parent_of(ending.exchange.headers.get("traceparent"))
        if parent is not None and not parent.sampled:
            return
        failed = ending.status >= 400 and ending.status != 499
        if not self._allowances[failed].take():
            self.sampled_out += 1
        elif len(self._queue) >= QUEUE or self._stopping:
            self.dropped += 1
        else:
            self._queue.append(trace_of(ending, parent))
            if self._thread is None:
                self._begin()

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._keep_sending, name="traces", daemon=True)
        self._thread.start()

    def _keep_sending(self) -> None:
        try:
            self._sender = self._make()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, requests go on
            self._say("traces are off", type(error).__name__)
            self._stopping = True
            self.dropped += len(self._queue)
            self._queue.clear()
            return
        while not self._stopping:
            self._send_all(self._sender)
            self._wake.wait(SEND_SECONDS)
        self._send_all(self._sender)

    def _send_all(self, sender: Sender) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                taken = sender.send(batch)
            except Exception as error:  # noqa: BLE001 - the same
                taken = False
                self._tell(type(error).__name__)
            if taken:
                self.sent += len(batch)
                self._trouble = False
            else:
                self.dropped += len(batch)
                self._tell("no collector took them")

    def _tell(self, why: str) -> None:
        if not self._trouble:
            self._trouble = True
            self._say("traces cannot be sent", why)

    def _say(self, what: str, why: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: _log.warning(what, why=why))

    async def close(self) -> None:
        """Send what is queued, if a collector takes it in time."""
        self._stopping = True
        self._wake.set()
        thread = self._thread
        if thread is None:
            return
        await asyncio.to_thread(thread.join, _FLUSH_SECONDS)
        if self._sender is not None:
            await asyncio.to_thread(self._sender.close)
        self.dropped += len(self._queue)


class Sender:
    """What takes traces to a collector (`coordinators.trace_spans.SpanSender`)."""

    def send(self, traces: Sequence[Trace]) -> bool:
        """Send them, and say whether they were taken. Blocks."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up what is being sent."""
        raise NotImplementedError
