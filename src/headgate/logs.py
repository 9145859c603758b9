"""Log lines: readable on a terminal, JSON elsewhere."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from coordinators.scrubbing import Scrubber
from headgate.log_lines import Mask, add_request, adopt_loggers, tell_exception

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_FLUSH_SECONDS = 0.05


class BatchingLogger:
    """Writes lines (bytes) to a file: warnings and worse at once, others within 50 ms, many in one write."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._due = False
        self.lost = 0
        atexit.register(self.flush)

    def info(self, line: bytes) -> None:
        """Keep the line for the next write, if an event loop is there to see to it."""
        self._lines.append(line)
        if self._due:
            return
        try:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        except RuntimeError:
            self.flush()
        else:
            self._due = True

    debug = info

    def warning(self, line: bytes) -> None:
        """Write the line and all before it."""
        self._lines.append(line)
        self.flush()

    error = critical = exception = warning

    def flush(self) -> None:
        """Write what is kept; a full disk or a closed pipe loses it, and `lost` counts."""
        self._due = False
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._file.write(b"\n".join([*lines, b""]))
            self._file.flush()
        except (OSError, ValueError):
            self.lost += len(lines)


class BatchingLoggerFactory:
    """Gives every asker the same logger, so that lines keep their order."""

    def __init__(self, file: BinaryIO) -> None:
        self._logger = BatchingLogger(file)

    def __call__(self, *_: object) -> BatchingLogger:
        """Give the logger."""
        return self._logger


def configure_logs(level: str, scrubber: Scrubber | None = None) -> None:
    """Set up structlog, and what the standard library's loggers write, for standard error.

    `scrubber` masks the secrets it knows; without one, what looks like a secret.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Any] = [
        add_request,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tell_exception,
        Mask(scrubber or Scrubber()),
    ]
    factory: Any
    if sys.stderr.isatty():
        processors.append(structlog.dev.ConsoleRenderer())
        factory = structlog.PrintLoggerFactory(sys.stderr)
    else:
        processors.append(structlog.processors.JSONRenderer(_json))
        factory = BatchingLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    adopt_loggers(max(threshold, logging.WARNING))


def echo(level: str) -> Callable[[bytes], None] | None:
    """Give what writes a line that is JSON already into the log; None if the log is not, or is for worse."""
    factory = structlog.get_config()["logger_factory"]
    if isinstance(factory, BatchingLoggerFactory) and level in {"debug", "info"}:
        return factory().info
    return None


def _json(event: Any, default: Any) -> bytes:
    return orjson.dumps(event, default)
