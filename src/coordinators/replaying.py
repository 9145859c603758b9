"""Runs captured requests again, under Prefect's own engine. It imports Prefect: seconds."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.captures import NotReplayable
from coordinators.capturing import whole_answer
from coordinators.quotes import without_quotes
from express import PlainRun
from flows.chat_completions import chat_completions, chat_streaming
from flows.count_tokens import count_tokens
from flows.messages import messages, streaming
from flows.universal import universal
from tasks.exchange import Exchange, Whole
from tasks.live_stream import error_told
from tasks.render import usage_summary
from wire.check import parse_body
from wire.errors import GatewayError, InvalidRequest
from wire.messages import new_id
from wire.redaction import filled

if TYPE_CHECKING:
    from coordinators.captures import Captured, Content
    from coordinators.prices import Prices
    from coordinators.routing import RoutingTable
    from coordinators.universal import Universal
    from flows.attempts import Patience
    from flows.prepare import House
    from tasks.count import TokenCounter
    from tasks.exchange import Streaming
    from wire.messages import Json

TAG = "replay"

_FLOWS = {
    flow.name: flow
    for flow in (messages, streaming, chat_completions, chat_streaming, count_tokens, universal)
}


@dataclass(slots=True)
class Again:
    """How the request went the second time.

    `run` is the flow run's name. `ms` counts from the flow's start to the last byte, with what Prefect's
    engine adds; `ttft_ms` to the first, of a stream. `answer` and `error` are as in `captures.Content`.
    """

    run: str
    status: int = 200
    ms: float = 0.0
    ttft_ms: float | None = None
    backend: str | None = None
    model: str = ""
    answer: bytes | None = None
    error: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)


class Replayer:
    """Runs captured requests with these parts. No key is asked for, no cache used, no usage counted."""

    def __init__(
        self,
        *,
        backends: RoutingTable,
        universal: Universal,
        counter: TokenCounter,
        prices: Prices,
        patience: Patience,
        house: House,
    ) -> None:
        self._backends = backends
        self._universal = universal
        self._counter = counter
        self._prices = prices
        self._patience = patience
        self._house = house

    def aim(self, captured: Captured, content: Content, backend: str | None, model: str | None) -> Exchange:
        """Give the request anew, for another backend or model if one is named; raises NotReplayable.

        What is redacted is filled with filler text.
        """
        facts = captured.facts
        if content.body is None:
            why = "its body was longer than HEADGATE_CAPTURE_LARGEST" if facts.get("body_left_out") else (
                "its body was no JSON, which is not kept without a key"
            )  # fmt: skip
            raise NotReplayable(f"request {captured.id} cannot be run again: {why}")
        raw = content.body if captured.encrypted else orjson.dumps(filled(orjson.loads(content.body)))
        headers = {name: value for name, value in content.headers.items() if not value.startswith("[")}
        exchange = Exchange(new_id("req"), headers, raw, format=facts.get("format", "anthropic"))
        try:
            exchange.body = parse_body(raw)
        except InvalidRequest as error:
            if backend is not None or model is not None:
                raise NotReplayable(f"its body cannot be changed: {error.message}") from None
            return exchange
        if backend is not None or model is not None:
            change = self._for_provider if facts["flow"] == universal.name else self._for_backend
            exchange.body |= change(exchange, backend, model)
            exchange.raw = orjson.dumps(exchange.body)
        return exchange

    def _for_backend(self, exchange: Exchange, backend: str | None, model: str | None) -> Json:
        known = self._backends.backends
        if backend is not None and backend not in known:
            names = ", ".join(known)
            raise NotReplayable(f"--backend: {backend[:80]!r} is no backend here; those are {names}")
        asked = model or exchange.model
        if backend is not None:
            prefix, colon, rest = asked.partition(":")
            asked = f"{backend}:{rest if colon and prefix in known else asked}"
        try:
            self._backends.routes(asked)
        except GatewayError as error:
            raise NotReplayable(f"--model: {error.message}") from None
        return {"model": asked}

    def _for_provider(self, exchange: Exchange, backend: str | None, model: str | None) -> Json:
        known = [one.name for one in self._universal.lanes]
        if backend is not None and backend not in known:
            raise NotReplayable(
                f"--backend: {backend[:80]!r} is no provider that is configured here; those are "
                f"{', '.join(known) or 'none'}"
            )
        change: Json = {"model": model} if model is not None else {}
        if backend is not None:
            exchange.headers = {
                name: value for name, value in exchange.headers.items() if name != "x-headgate-provider"
            }
            change["provider"] = backend
        return change

    async def run(self, captured: Captured, exchange: Exchange) -> Again:
        """Run it to its last byte. An error is part of what is given, whoever made it."""
        flow = _FLOWS[captured.facts["flow"]]
        again = Again(f"replay-{flow.name}-{exchange.id}", model=exchange.model)
        tags = [TAG, f"{TAG}-of:{captured.id}", *([exchange.model[:100]] if exchange.model else [])]
        clean = partial(without_quotes, exchange=exchange)
        run = PlainRun(flow.name, name=again.run, tags=tags, clean=clean)
        failure: Exception | None = None
        started = time.perf_counter()
        try:
            answer = await run.call(flow, exchange, *self._parts(flow.name))
            if isinstance(answer, Whole):
                again.answer, again.summary = answer.body, dict(answer.summary)
            else:
                again.ttft_ms = _since(started)
                await self._read(answer, flow.name, again)
        except GatewayError as error:
            failure = error
            again.status, again.error = error.status_sent, error.message
            again.answer = again.answer or error.verbatim
        except Exception as error:  # noqa: BLE001 - a mistake of ours may be what is looked for
            failure = error
            again.status, again.error = 500, f"{type(error).__name__}: {error}"
        again.ms = _since(started)
        if exchange.tried:
            again.backend, again.model = exchange.tried[-1].backend, exchange.tried[-1].model
        self._prices.complete(again.summary, exchange)
        again.summary["attempts"] = exchange.attempts
        run.finish("completed" if failure is None else "failed", error=failure, summary=again.summary)
        await run.settled()
        return again

    def _parts(self, name: str) -> tuple[Any, ...]:
        if name == count_tokens.name:
            return self._backends, self._counter
        if name == universal.name:
            return self._universal, None, self._patience, self._house
        return self._backends, self._patience, self._house

    async def _read(self, answer: Streaming, flow: str, again: Again) -> None:
        live, pieces = answer.live, list[bytes]()
        try:
            async with aclosing(live.frames()) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    pieces.append(frame)
            if live.translator.failed:
                raise error_told(live.translator)
        finally:
            await live.close()
            again.answer = whole_answer(pieces, flow)
            translator = live.translator
            again.summary = {
                **usage_summary(translator.usage or {}, translator.cost),
                "stop_reason": translator.stop_reason,
            }


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
