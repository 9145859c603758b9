"""Writes one line for each request: the server's `requests.jsonl`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.error_log import moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from coordinators.line_files import LineFile
    from coordinators.observing import Begun, Ending
    from coordinators.scrubbing import Scrubber
    from tasks.exchange import Exchange

# made by us, or a word of a short list, or the upstream's own id
_PLAIN = frozenset(
    {
        "time",
        "event",
        "id",
        "request_id",
        "flow",
        "run",
        "backend",
        "error_hash",
        "stop_reason",
        "generation_id",
        "cache",
        "error",
    }
)


class RequestLog:
    """Notes how each request ended (`coordinators.observing.Observer`), or that it was refused at once.

    What went well is also passed to `echo`, if there is one: the same line, instead of another of the log's.
    """

    def __init__(
        self, file: LineFile, scrubber: Scrubber, echo: Callable[[bytes], None] | None = None
    ) -> None:
        self._file = file
        self._scrubber = scrubber
        self._echo = echo

    @property
    def echoes(self) -> bool:
        """Whether requests that went well need no other line in the log."""
        return self._echo is not None

    def ended(self, ending: Ending) -> None:
        """Write the request's line."""
        written = orjson.dumps(request_line(ending, self._scrubber), default=str)
        self._file.add(written)
        if self._echo is not None and ending.status == 200:
            self._echo(written)

    def refused(self, line: dict[str, Any]) -> None:
        """Write the line of a request that was refused before any flow was run for it."""
        self._scrubber.event(line, _PLAIN)
        self._file.add(orjson.dumps(line, default=str))


def refused_line(request_id: str, path: str, exchange: Exchange | None, **said: Any) -> dict[str, Any]:
    """Give what is known of a request that no flow was run for, whatever it was; `said` is how it ended."""
    line: dict[str, Any] = {
        "time": moment(),
        "event": "request",
        "id": request_id,
        "request_id": request_id,
        "flow": None,
        "path": path,
        "model": None,
        "backend": None,
        **said,
    }
    if exchange is not None:
        line |= {
            "model": exchange.model[:100],
            "ms": round((time.time() - exchange.started) * 1000, 1),
            "stream": exchange.stream,
            "session": exchange.session[:80] if exchange.session else None,
            "body_bytes": len(exchange.raw),
        }
    return line


def request_line(ending: Ending, scrubber: Scrubber) -> dict[str, Any]:
    """Give a request's line: what it asked for, who answered, how, and what it took; secrets masked."""
    exchange, tried, session = ending.exchange, ending.exchange.tried, ending.exchange.session
    told: dict[str, Any] = {
        "model": exchange.model[:100],
        "session": session[:80] if session else None,
        **ending.summary,
    }
    scrubber.event(told, _PLAIN)  # the rest is of our own making
    return {
        "time": moment(),
        "event": "request",
        "id": exchange.id,
        "request_id": exchange.id,  # as other lines of the log name it
        "flow": ending.flow,
        "model": None,
        "backend": tried[-1].backend if tried else None,
        "ms": ending.ms,
        "stream": exchange.stream,
        "session": None,
        "run": ending.run_name,
        "body_bytes": len(exchange.raw),
        **told,
        "status": ending.status,  # the summary of a failed one has it too
        "run_id": ending.run_id,
    }


def begun_line(begun: Begun, scrubber: Scrubber) -> dict[str, Any]:
    """Give what is known of a request that has not ended; secrets masked. `began` is in UTC."""
    exchange = begun.exchange
    line: dict[str, Any] = {
        "began": moment(exchange.started),
        "id": exchange.id,
        "flow": begun.flow,
        "model": exchange.model[:100],
        "backend": exchange.tried[-1].backend if exchange.tried else None,
        "attempts": exchange.attempts,
        "run": begun.run_name,
    }
    scrubber.event(line, _PLAIN)
    line["run_id"] = str(begun.run_id)
    return line
