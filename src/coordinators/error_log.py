"""Writes down every error: where in the code, how it came there, in which request; nothing that it held."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.current import answered_before, current_exchange
from coordinators.prefect_links import run_link
from coordinators.quotes import without_quotes
from express.origins import file_of, frames, is_ours, origin_of, source_line
from wire.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, TracebackType

    from coordinators.line_files import LineFile
    from coordinators.scrubbing import Scrubber
    from express.origins import Origin
    from tasks.exchange import Exchange

TAG = "error:"
MESSAGE_LENGTH = 500
LOOKED_AT = 2 * MESSAGE_LENGTH  # of longer texts the beginning may come to be shorter without its quotes
_NOTED = "_headgate_hash"
_MOST_FRAMES = 40
_MOST_CHAINED = 8
_MOST_HEADERS = 50
_WHOLE_A_MINUTE = 30

# Errors of the language and the system whose texts name code, files and numbers; those of others may quote
# the value they choked on, and that may be a prompt.
_PLAIN = (
    ArithmeticError, AttributeError, ImportError, IndexError, MemoryError, NameError, OSError, RecursionError,
)  # fmt: skip


class ErrorLog:
    """Notes errors of one process; `note` gives the hash by which each is found again.

    `file` is the server's `errors.jsonl`, None where no folder could be made: then errors only get a hash.
    `ui_url` is the Prefect UI's address, for links. `process` names the process.
    """

    def __init__(
        self, file: LineFile | None, scrubber: Scrubber, *, ui_url: str | None = None, process: str = "web"
    ) -> None:
        self.file = file
        self._scrubber = scrubber
        self._ui_url = ui_url
        self._process = process
        self._minute = 0
        self._whole: dict[str, int] = {}

    def note(
        self,
        error: BaseException,
        *,
        status: int | None = None,
        crashed: bool = False,
        exchange: Exchange | None = None,
        run_name: str | None = None,
        **facts: Any,
    ) -> str:
        """Write the error down, and give its hash; never raises.

        `status` is the HTTP status the client is told. `crashed` says that nobody raised it for a client to
        see. `facts` are further words on the circumstances, for requests that have no exchange.
        """
        noted: str | None = getattr(error, _NOTED, None)
        if noted is not None and exchange is None:
            return noted  # it is logged once more on its way out
        origin = origin_of(error)
        with suppress(Exception):  # an error's class may allow no attributes
            setattr(error, _NOTED, origin.hash)
        if self.file is not None:
            facts |= {"status": status, "crashed": crashed}
            try:
                self.file.add(self._line(error, origin, exchange, run_name, facts))
            except Exception:  # noqa: BLE001 - an odd error's own attributes may fail; its place is what counts
                self.file.add(orjson.dumps({"time": moment(), **asdict(origin), "process": self._process}))
        return origin.hash

    def _line(
        self,
        error: BaseException,
        origin: Origin,
        exchange: Exchange | None,
        run_name: str | None,
        facts: Mapping[str, Any],
    ) -> bytes:
        status = facts["status"]
        severe = facts["crashed"] or status is None or status >= 500
        whole = severe and self._worth_a_stack(origin.hash)
        record: dict[str, Any] = {
            "time": moment(),
            **asdict(origin),
            "message": self._message(error, exchange),
            "process": self._process,
            "pid": os.getpid(),
            "stack": stack(error.__traceback__) if whole else None,
            "chain": self._chain(error, exchange) if whole else None,
            "request": self._request(exchange) if exchange is not None else None,
            "run": self._run(run_name) if run_name is not None else None,
        }
        return orjson.dumps(record | self._scrubber.value(facts), default=str)

    def _worth_a_stack(self, name: str) -> bool:
        """Say whether to write all of it: of many alike in a minute only the first, or they fill the disk."""
        minute = int(time.time() // 60)
        if minute != self._minute:
            self._minute = minute
            self._whole.clear()
        self._whole[name] = count = self._whole.get(name, 0) + 1
        return count <= _WHOLE_A_MINUTE

    def _message(self, error: BaseException, exchange: Exchange | None) -> str | None:
        text = message_of(error, exchange)
        return None if text is None else self._scrubber.text(text)

    def _chain(self, error: BaseException, exchange: Exchange | None) -> list[dict[str, Any]]:
        """Give the errors this one came from, the nearest first."""
        told: list[dict[str, Any]] = []
        seen = {id(error)}
        while len(told) < _MOST_CHAINED:
            earlier, how = error.__cause__, "cause"
            if earlier is None and not error.__suppress_context__:
                earlier, how = error.__context__, "context"
            if earlier is None or id(earlier) in seen:
                break
            seen.add(id(earlier))
            told.append(
                {"how": how, **asdict(origin_of(earlier)), "message": self._message(earlier, exchange)}
            )
            error = earlier
        return told

    def _request(self, exchange: Exchange) -> dict[str, Any]:
        clean = self._scrubber.text
        last = exchange.tried[-1] if exchange.tried else None
        return {
            "id": exchange.id,
            "session": clean(exchange.session[:80]) if exchange.session else None,
            "model": clean(exchange.model[:100]),
            "backend": last.backend if last else None,
            "backend_model": clean(last.model[:100]) if last else None,
            "stream": exchange.stream,
            "format": exchange.format,
            "body_bytes": len(exchange.raw),
            "messages": _length(exchange, "messages"),
            "tools": _length(exchange, "tools"),
            "headers": [clean(name[:60]) for name in sorted(exchange.headers)[:_MOST_HEADERS]],
            "tried": [f"{one.backend}: {clean(one.model[:100])}" for one in exchange.tried[:10]],
            "attempts": exchange.attempts,
            "cache": exchange.cache.outcome if exchange.cache is not None else None,
            "ms": round((time.time() - exchange.started) * 1000, 1),
        }

    def _run(self, name: str) -> dict[str, Any]:
        return {"name": name, "link": run_link(self._ui_url, name) if self._ui_url else None}


def moment(at: float | None = None) -> str:
    """Give a time (seconds since the epoch; now without one) as UTC in ISO 8601, to the millisecond."""
    second, milliseconds = divmod(time.time_ns() // 1_000_000 if at is None else int(at * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03}+00:00"


@lru_cache(2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def message_of(error: BaseException, exchange: Exchange | None = None) -> str | None:
    """Give an error's own text without what a client sent; None where that cannot be told apart.

    The client's request is the `exchange`, or the one that is being answered here.
    """
    if isinstance(error, GatewayError):
        asked = exchange or current_exchange()
        if error.quotes and asked is not None:
            return without_quotes(error.message[:LOOKED_AT], asked)[:MESSAGE_LENGTH]
        return None if error.quotes and answered_before() else error.message[:MESSAGE_LENGTH]
    if isinstance(error, OSError):
        return error.strerror
    return str(error)[:MESSAGE_LENGTH] if isinstance(error, _PLAIN) else None


def stack(trace: TracebackType | None) -> list[dict[str, Any]]:
    """Give the frames of a traceback, the innermost last; too many are cut in the middle."""
    found = list(frames(trace))
    if len(found) > _MOST_FRAMES:
        found = found[: _MOST_FRAMES // 2] + found[-_MOST_FRAMES // 2 :]
    return [_frame(code, line) for code, line in found]


def _frame(code: CodeType, line: int) -> dict[str, Any]:
    ours = is_ours(code)
    told = {"file": file_of(code), "line": line, "function": code.co_qualname, "ours": ours}
    return told | {"code": source_line(code, line)} if ours else told


def _length(exchange: Exchange, name: str) -> int | None:
    listed = exchange.body.get(name) if exchange.body is not None else None
    return len(listed) if isinstance(listed, list) else None
