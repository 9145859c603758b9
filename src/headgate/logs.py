"""Log lines: readable on a terminal, JSON elsewhere."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from typing import TYPE_CHECKING, Any

import orjson
import structlog

if TYPE_CHECKING:
    from typing import BinaryIO

_FLUSH_SECONDS = 0.05


class BatchingLogger:
    """Writes lines (bytes) to a file: warnings and worse at once, others within 50 ms, many in one write."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._due = False
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
        """Write what is kept."""
        self._due = False
        if self._lines:
            lines = b"\n".join([*self._lines, b""])
            self._lines.clear()
            self._file.write(lines)
            self._file.flush()


class BatchingLoggerFactory:
    """Gives every asker the same logger, so that lines keep their order."""

    def __init__(self, file: BinaryIO) -> None:
        self._logger = BatchingLogger(file)

    def __call__(self, *_: object) -> BatchingLogger:
        """Give the logger."""
        return self._logger


def configure_logs(level: str) -> None:
    """Set up structlog and the standard library's logging, both to standard error."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    factory: Any
    if sys.stderr.isatty():
        processors.append(structlog.dev.ConsoleRenderer())
        factory = structlog.PrintLoggerFactory(sys.stderr)
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(orjson.dumps)]
        factory = BatchingLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(threshold, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
