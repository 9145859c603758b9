"""Captures requests as they end, so that they can be looked at and run again (`coordinators.captures`)."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import orjson
import structlog

from coordinators.captures import Content
from coordinators.error_log import moment
from wire.errors import GatewayError
from wire.fold import Fold
from wire.sse import frames_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordinators.capture_seal import Seal
    from coordinators.captures import CaptureFolder
    from coordinators.observing import Ending
    from coordinators.scrubbing import Scrubber
    from tasks.exchange import Exchange

_log = structlog.get_logger("headgate.captures")

FLOWS = frozenset(
    {"messages", "streaming", "chat_completions", "chat_streaming", "count_tokens", "universal"}
)
"""The flows whose requests are captured: those that can be run again."""

_UNINTERESTING = frozenset({401, 403, 499})  # a key was refused, or the client left: the body is not why
_MOST_WAITING = 64 * 1024 * 1024
_LONGEST_ERROR = 4000
_HEADERS = ("anthropic-", "x-headgate-", "x-openai-", "x-openrouter-")
_SECRET = re.compile(r"key|auth|token|secret|passw|cookie")
_OTHER_HEADERS = frozenset({"x-claude-code-session-id", "x-stainless-timeout"})


class Capturing:
    """Keeps requests that failed (`errors`), or all (`coordinators.observing.Observer`).

    Failed are those of status 400 and more, but for 401 and 403 (a key was refused) and 499 (the client
    left). Bodies and answers of more than `largest` bytes are left out. A thread does the work; what it
    cannot write, and what is too much to wait for it, is lost, counted, and told once until it works again.
    """

    def __init__(
        self,
        folder: CaptureFolder,
        seal: Seal,
        scrubber: Scrubber,
        *,
        which: Literal["errors", "all"],
        largest: int,
    ) -> None:
        self.lost = 0
        """Requests that were to be captured and are not."""
        self._folder = folder
        self._seal = seal
        self._scrubber = scrubber
        self._all = which == "all"
        self._largest = largest
        self._waiting = 0
        self._counting = threading.Lock()
        self._failing = False
        self._writer = ThreadPoolExecutor(1, "captures")

    def ended(self, ending: Ending) -> None:
        """Have the request captured, if it is one to capture."""
        if ending.flow not in FLOWS or not (self._all or _failed(ending.status)):
            return
        size = len(ending.exchange.raw) + sum(map(len, ending.exchange.kept or ()))
        if self._waiting + size > _MOST_WAITING:
            self._lose("too many wait to be written")
            return
        self._count(size)
        self._writer.submit(self._capture, ending, moment(), size)

    def close(self) -> None:
        """Write what waits."""
        self._writer.shutdown()

    def _count(self, size: int) -> None:
        with self._counting:
            self._waiting += size

    def _capture(self, ending: Ending, time: str, size: int) -> None:
        try:
            self._folder.write(self._facts(ending, time), self._content(ending), self._seal)
        except OSError as error:
            self._lose(error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a body like no other must not end the thread
            self._lose(type(error).__name__)
        else:
            self._failing = False
        finally:
            self._count(-size)

    def _lose(self, because: str) -> None:
        with self._counting:
            self.lost += 1
        if not self._failing:
            self._failing = True
            _log.error("requests are not captured", folder=str(self._folder.path), because=because)

    def _facts(self, ending: Ending, time: str) -> dict[str, Any]:
        exchange, error = ending.exchange, ending.error
        return {
            "id": exchange.id,
            "time": time,
            "flow": ending.flow,
            "format": exchange.format,
            "model": self._scrubber.text(exchange.model[:100]),
            "backend": exchange.tried[-1].backend if exchange.tried else None,
            "status": ending.status,
            "ms": ending.ms,
            "stream": exchange.stream,
            "error": type(error).__name__ if error is not None else None,
            "error_hash": ending.summary.get("error_hash"),
            "body_bytes": len(exchange.raw),
            "body_left_out": len(exchange.raw) > self._largest,
        }

    def _content(self, ending: Ending) -> Content:
        exchange, error = ending.exchange, ending.error
        answer = error.verbatim if isinstance(error, GatewayError) else None
        if answer is None and exchange.kept:
            answer = whole_answer(exchange.kept, ending.flow)
        return Content(
            headers=kept_headers(exchange.headers),
            body=received(exchange) if len(exchange.raw) <= self._largest else None,
            answer=answer,
            error=str(error)[:_LONGEST_ERROR] if error is not None else None,
            summary={name: value for name, value in ending.summary.items() if value is not None},
            steps=[(step.name, round((step.end - step.start) / 1e6, 1)) for step in ending.run.steps],
        )


def _failed(status: int) -> bool:
    return status >= 400 and status not in _UNINTERESTING


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Pick the headers that change what is answered; never a key."""
    return {
        name: value
        for name, value in headers.items()
        if name in _OTHER_HEADERS or (name.startswith(_HEADERS) and _SECRET.search(name) is None)
    }


def received(exchange: Exchange) -> bytes:
    """Give the body as it was received, or, where the gateway's own way in changed it, as the flow saw it."""
    body = exchange.body
    if body is None:
        return exchange.raw
    raw = orjson.loads(exchange.raw)
    plain = {name: value for name, value in body.items() if not isinstance(value, dict | list)}
    if raw.keys() == body.keys() and all(raw[name] == value for name, value in plain.items()):
        return exchange.raw
    return orjson.dumps(body)


def whole_answer(pieces: Sequence[bytes], flow: str) -> bytes:
    """Give the answer in one: the finished Message of a Messages stream, the text of any other."""
    text = b"".join(pieces)
    if flow != "streaming":
        return text
    try:
        fold = Fold()
        for frame in frames_of(text):
            fold.add(orjson.loads(frame.data))
        return orjson.dumps(fold.message())
    except (GatewayError, LookupError, TypeError, ValueError):
        return text  # it broke off
