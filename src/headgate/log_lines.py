"""What is done to every log line before it is written: the request's ids, the stack, the masks."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

from coordinators.current import current_names
from coordinators.error_log import message_of, stack
from express.origins import origin_of

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

    from coordinators.error_log import ErrorLog
    from coordinators.scrubbing import Scrubber

PLAIN = frozenset({"level", "timestamp", "request_id", "run", "run_id", "flow", "status", "error_hash"})
"""What no secret gets into: made by us."""

_LONGEST = 4000
_NOTED = frozenset({"error", "critical", "exception"})
_OTHERS = ("prefect", "uvicorn", "fastapi", "LiteLLM", "litellm", "asyncio", "aiohttp", "httpx", "sqlalchemy")


def add_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add the ids of the request that the line is written below, where it does not name them itself."""
    for name, value in current_names().items():
        event.setdefault(name, value)
    return event


def tell_exception(_: WrappedLogger, level: str, event: EventDict) -> EventDict:
    """Put in an exception's place where it was raised and how it came there, without what it may quote.

    From `error` on it is noted in the server's error log too, if there is one and it is not there yet.
    """
    given = event.pop("exc_info", None)
    if not given:
        return event
    error = _exception(given)
    if error is None:
        return event
    if others.errors is not None and level in _NOTED:
        others.errors.note(error, crashed=True, said=str(event.get("event"))[:200])
    event.setdefault("error_hash", origin_of(error).hash)
    event["exception"] = rendered(error)
    return event


def _exception(given: Any) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    found = given[1] if isinstance(given, tuple) else sys.exc_info()[1]
    return found if isinstance(found, BaseException) else None


def rendered(error: BaseException, depth: int = 0) -> str:
    """Give where an error was raised and how it came there, and its own text if that quotes nothing."""
    lines = [
        f"  {one['file']}:{one['line']} {one['function']}" + (f": {one['code']}" if one.get("code") else "")
        for one in stack(error.__traceback__)
    ]
    text = message_of(error)
    lines.append(type(error).__name__ + (f": {text}" if text else ""))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth < 4:
        return rendered(cause, depth + 1) + "\nled to\n" + "\n".join(lines)
    return "\n".join(lines)


class Mask:
    """Masks secrets in a line's values."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Give the line with secrets masked."""
        self._scrubber.event(event, PLAIN)
        return event


class Others(logging.Handler):
    """Writes the lines of the standard library's loggers, Prefect's, uvicorn's and LiteLLM's too, as ours.

    What they log with an exception, from `error` on, is noted in `errors` too, once there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors: ErrorLog | None = None
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; never raises."""
        try:
            level = max(logging.DEBUG, min(record.levelno // 10 * 10, logging.CRITICAL))
            facts: dict[str, Any] = {"logger": record.name}
            if record.exc_info and record.exc_info[1] is not None:
                facts["exc_info"] = record.exc_info
                if self.errors is not None and level >= logging.ERROR:
                    self.errors.note(record.exc_info[1], crashed=True, logger=record.name)
            self._log.log(level, record.getMessage()[:_LONGEST], **facts)
        except Exception:  # noqa: BLE001 - logging's own rule: it does not break the program
            self.handleError(record)


others = Others()
"""The one handler that all loggers of other libraries end in."""


def adopt_loggers(level: int) -> None:
    """Have everything that other libraries log written as ours, from `level` on.

    Called again after a library was imported that sets handlers of its own: those that write to a stream go,
    those that send elsewhere (Prefect's to its server) stay.
    """
    root = logging.getLogger()
    root.handlers = [others]
    root.setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in _OTHERS or name.startswith("LiteLLM"):
            logger = logging.getLogger(name)
            mine = [one for one in logger.handlers if not isinstance(one, logging.StreamHandler)]
            if mine != logger.handlers:
                logger.handlers = mine
                logger.propagate = True
