"""Every request's flow run: through express, or through Prefect's own engine for comparison."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog

from express import Run, run_plainly

if TYPE_CHECKING:
    from express import Pipeline, Sink, StepRecord
    from tasks.exchange import Exchange
    from wire.errors import GatewayError

_log = structlog.get_logger("headgate.request")


class Relay(Protocol):
    """A step that goes on after the flow's function returned."""

    def close(self) -> None: ...

    def fail(self, error: BaseException) -> None: ...


class FlowRuns:
    """Opens a run for each exchange. `sink` is where express runs go to be recorded, if anywhere."""

    def __init__(self, engine: Literal["express", "prefect", "off"], sink: Sink | None) -> None:
        self._engine = engine
        self._sink = sink if engine == "express" else None

    def open(self, flow: Pipeline[..., Any], exchange: Exchange, backend: str) -> OpenRun:
        """Open the run of `flow` for this exchange, named and tagged for the Prefect UI."""
        tags = [backend]
        if exchange.model:
            tags.append(exchange.model[:100])
        if exchange.stream:
            tags.append("stream")
        if session := exchange.session:
            tags.append(f"session:{session[:80]}")
        run = Run(
            flow.name,
            name=f"{flow.name}-{exchange.id}",
            tags=tags,
            parameters=_parameters(exchange),
            sink=self._sink,
        )
        return OpenRun(flow, run, exchange, plain=self._engine == "prefect")


class OpenRun:
    """A request's run, from its start to after its last byte; ends once, with one log line."""

    def __init__(self, flow: Pipeline[..., Any], run: Run, exchange: Exchange, *, plain: bool) -> None:
        self._flow = flow
        self._run = run
        self._exchange = exchange
        self._plain = plain

    async def call(self, *args: Any) -> Any:
        """Run the flow; gives and raises what it does."""
        if self._plain:
            return await run_plainly(self._flow, *args, name=self._run.name, tags=list(self._run.tags))
        return await self._run.call(self._flow, *args)

    def open_step(self, name: str) -> StepRecord:
        """Start a step that goes on after the flow's function returned."""
        return self._run.open_step(name)

    def complete(self, summary: dict[str, Any]) -> None:
        """End well. A run that needed a fallback is worth recording even when most are left out."""
        tags = self._late_tags()
        self._run.keep = self._run.keep or bool(tags)
        self._run.finish("completed", summary=summary, tags=tags)
        self._write(_log.info, 200, summary)

    def fail(self, error: GatewayError, summary: dict[str, Any]) -> None:
        """End with an error that the client was told."""
        summary = summary | {"error": type(error).__name__, "status": error.status_sent}
        self._run.finish("failed", error=error, summary=summary, tags=self._late_tags())
        self._write(_log.warning, error.status_sent, summary)

    def cancel(self, error: BaseException, summary: dict[str, Any]) -> None:
        """End because the client left."""
        self._run.finish("cancelled", error=error, summary=summary, tags=self._late_tags())
        self._write(_log.info, 499, summary)

    def crash(self, error: BaseException) -> None:
        """End with an error of our own making: its traceback goes to the log."""
        self._run.finish("failed", error=error, summary={"error": type(error).__name__})
        _log.error("request crashed", request_id=self._exchange.id, exc_info=error)

    def _late_tags(self) -> list[str]:
        """Give the tags known only afterwards: what the cache did, who was tried in the end."""
        tried, cache = self._exchange.tried, self._exchange.cache
        tags = cache.tags if cache is not None else []
        return [*tags, "fallback", tried[-1].backend] if len(tried) > 1 else tags

    def _write(self, log: Any, status: int, summary: dict[str, Any]) -> None:
        exchange = self._exchange
        log(
            "request",
            flow=self._flow.name,
            request_id=exchange.id,
            model=exchange.model,
            status=status,
            ms=round((time.time() - exchange.started) * 1000, 1),
            **{name: value for name, value in summary.items() if value is not None and name != "status"},
        )


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
