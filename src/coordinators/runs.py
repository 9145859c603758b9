"""Every request's flow run: through express, or through Prefect's own engine for comparison."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog

from coordinators.current import enter
from coordinators.error_log import TAG
from coordinators.observing import Begun, Ending
from coordinators.quotes import without_quotes
from express import PlainRun, Run
from express.origins import origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordinators.current import Cell
    from coordinators.error_log import ErrorLog
    from coordinators.observing import Observer
    from express import Pipeline, Sink, StepRecord
    from tasks.exchange import Exchange
    from wire.errors import GatewayError

_log = structlog.get_logger("headgate.request")


class ClientLeft(asyncio.CancelledError):
    """What a cancelled run shows instead of the cancellation, whose text would be a line of asyncio's."""

    message = "the client left before its answer was whole, or canceled its batch"

    @classmethod
    def instead_of(cls, error: BaseException) -> ClientLeft:
        """Give it with the place where the cancellation came."""
        return cls().with_traceback(error.__traceback__)


class Relay(Protocol):
    """A step that goes on after the flow's function returned."""

    def close(self) -> None: ...

    def fail(self, error: BaseException) -> None: ...


class FlowRuns:
    """Opens a run for each exchange. `sink` is where express runs go to be recorded, if anywhere.

    `errors` notes what goes wrong. Each of the `observers` is told how each run ended. `quiet`: what went
    well is not worth a line here (a batch's requests are many, others have theirs from `RequestLog`).
    """

    def __init__(
        self,
        engine: Literal["express", "prefect", "off"],
        sink: Sink | None,
        observers: Sequence[Observer] = (),
        errors: ErrorLog | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        self._engine = engine
        self._errors = errors
        self._observers = tuple(observers)
        self._sink = sink if engine == "express" else None
        self._quiet = quiet
        self._under_way: dict[OpenRun, None] = {}  # in the order of their begin
        self._engines: set[asyncio.Task[None]] = set()  # Prefect's, which end after their runs

    def open(self, flow: Pipeline[..., Any], exchange: Exchange, backend: str) -> OpenRun:
        """Open the run of `flow` for this exchange, with tags and parameters where runs are shown."""
        name = f"{flow.name}-{exchange.id}"
        if self._engine == "off":
            run = Run(flow.name, name=name)
        else:
            shown: dict[str, Any] = {
                "name": name, "tags": _tags(exchange, backend), "parameters": _parameters(exchange),
                "clean": partial(_clean, exchange),
            }  # fmt: skip
            if self._engine == "prefect":
                run = PlainRun(flow.name, **shown, engines=self._engines)
            else:
                run = Run(flow.name, **shown, sink=self._sink)
        opened = OpenRun(
            flow, run, exchange, observers=self._observers, errors=self._errors, quiet=self._quiet,
            under_way=self._under_way, current=enter(exchange, run.id, name),
        )  # fmt: skip
        self._under_way[opened] = None
        return opened

    def under_way(self, most: int) -> list[Begun]:
        """Give the oldest of the runs that have not ended."""
        return [one.begun() for one in islice(self._under_way, most)]

    async def close(self, within: float = 10.0) -> None:
        """Wait until Prefect's own engine has written what ended; under express the sink does that."""
        if self._engines:
            await asyncio.wait(self._engines, timeout=within)


class OpenRun:
    """A request's run, from its start to after its last byte; ends once, with one log line."""

    def __init__(
        self,
        flow: Pipeline[..., Any],
        run: Run,
        exchange: Exchange,
        *,
        observers: Sequence[Observer] = (),
        errors: ErrorLog | None = None,
        quiet: bool = False,
        under_way: dict[OpenRun, None] | None = None,
        current: Cell | None = None,
    ) -> None:
        self._flow = flow
        self._current = current
        self._under_way = under_way
        self._errors = errors
        self._observers = observers
        self._run = run
        self._exchange = exchange
        self._quiet = quiet

    async def call(self, *args: Any) -> Any:
        """Run the flow; gives and raises what it does."""
        return await self._run.call(self._flow, *args)

    def begun(self) -> Begun:
        """Say what is under way."""
        return Begun(self._exchange, self._flow.name, self._run.id, self._run.name)

    def open_step(self, name: str) -> StepRecord:
        """Start a step that goes on after the flow's function returned."""
        return self._run.open_step(name)

    def complete(self, summary: dict[str, Any]) -> None:
        """End well. A run that needed a fallback is worth recording even when most are left out."""
        tags = self._late_tags()
        self._run.keep = self._run.keep or bool(tags)
        self._run.finish("completed", summary=summary, tags=tags)
        self._tell(200, summary)

    def fail(self, error: GatewayError, summary: Mapping[str, Any]) -> None:
        """End with an error that the client is told; it gets its hash.

        It is recorded once the client has been told: to find what its text quotes of a long request takes
        milliseconds, and nobody is to wait for them (issue 6).
        """
        if self._errors is not None:
            error.hash = origin_of(error).hash
        asyncio.get_running_loop().call_soon(self._record_failure, error, summary)

    def _record_failure(self, error: GatewayError, summary: Mapping[str, Any]) -> None:
        told = {"error": type(error).__name__, "status": error.status_sent}
        tags = self._late_tags()
        if (known := self._note(error, error.status_sent)) is not None:
            told["error_hash"] = known
            tags.append(f"{TAG}{known}")
        summary = {**summary, **told}
        self._run.finish("failed", error=error, summary=summary | _look_up(known), tags=tags)
        self._tell(error.status_sent, summary, error)

    def cancel(self, error: BaseException, summary: dict[str, Any]) -> None:
        """End because the client left."""
        self._run.finish("cancelled", error=error, summary=summary, tags=self._late_tags())
        self._tell(499, summary, error)

    def crash(self, error: BaseException) -> str | None:
        """End with an error of our own making, and give its hash: its traceback goes to the log."""
        summary: dict[str, Any] = {"error": type(error).__name__}
        tags = self._late_tags()
        if (known := self._note(error, 500, crashed=True)) is not None:
            summary["error_hash"] = known
            tags.append(f"{TAG}{known}")
        self._run.finish("failed", error=error, summary=summary | _look_up(known), tags=tags)
        _log.error("request crashed", request_id=self._exchange.id, error_hash=known, exc_info=error)
        self._tell(500, summary, error, crashed=True)
        return known

    def _note(self, error: BaseException, status: int, *, crashed: bool = False) -> str | None:
        if self._errors is None:
            return None
        return self._errors.note(
            error, status=status, crashed=crashed, exchange=self._exchange, run_name=self._run.name
        )

    def _late_tags(self) -> list[str]:
        """Give the tags known only afterwards: what the cache did, who was tried in the end."""
        tried, cache = self._exchange.tried, self._exchange.cache
        tags = cache.tags if cache is not None else []
        return [*tags, "fallback", tried[-1].backend] if len(tried) > 1 else tags

    def _tell(
        self,
        status: int,
        summary: Mapping[str, Any],
        error: BaseException | None = None,
        *,
        crashed: bool = False,
    ) -> None:
        """Write the request's line, and tell the observers."""
        ms = round((time.time() - self._exchange.started) * 1000, 1)
        if self._under_way is not None:
            self._under_way.pop(self, None)
        if not crashed and not (self._quiet and status == 200):
            self._write(_log.warning if status >= 400 and status != 499 else _log.info, status, ms, summary)
        run = self._run
        ending = Ending(
            self._exchange, self._flow.name, status, ms, summary, error, run.id, run.name, crashed, run
        )
        for observer in self._observers:
            try:
                observer.ended(ending)
            except Exception:  # noqa: BLE001 - a mistake there must not become the client's
                _log.exception("an observer failed", observer=type(observer).__name__)
        if self._current is not None:
            self._current.clear()  # last: what is told until here is this request's

    def _write(self, log: Any, status: int, ms: float, summary: Mapping[str, Any]) -> None:
        exchange = self._exchange
        log(
            "request",
            flow=self._flow.name,
            request_id=exchange.id,
            model=exchange.model,
            status=status,
            ms=ms,
            **{name: value for name, value in summary.items() if value is not None and name != "status"},
        )


def _clean(exchange: Exchange, text: str) -> str:
    """Take out of a run's texts what they quote of the request."""
    return without_quotes(text, exchange)


def _look_up(known: str | None) -> dict[str, str]:
    """Say in the run's table where its error is to be found."""
    return {} if known is None else {"look_up": f"headgate errors show {known}"}


def _tags(exchange: Exchange, backend: str) -> list[str]:
    tags = [backend]
    if exchange.model:
        tags.append(exchange.model[:100])
    if exchange.stream:
        tags.append("stream")
    if session := exchange.session:
        tags.append(f"session:{session[:80]}")
    return tags


def _parameters(exchange: Exchange) -> dict[str, Any]:
    shown: dict[str, Any] = dict(exchange.__prefect_summary__())
    if (body := exchange.body) is not None:
        for name in ("messages", "tools"):
            if isinstance(listed := body.get(name), list):
                shown[name] = len(listed)
        for name in ("max_tokens", "stream"):
            if isinstance(value := body.get(name), int):
                shown[name] = value
        if exchange.model:
            shown["model"] = exchange.model[:100]
    return shown
