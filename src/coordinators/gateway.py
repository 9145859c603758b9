"""The gateway: authenticates, picks the flow, runs it, and settles it after the last byte."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from coordinators.runs import ClientLeft
from coordinators.tally import Tally, told_of, trials
from flows.chat_completions import chat_completions, chat_streaming
from flows.count_tokens import count_tokens
from flows.messages import messages, streaming
from flows.universal import universal as universal_flow
from tasks.exchange import Sending, Streaming, Whole
from tasks.live_stream import error_told
from wire.cache_directive import from_object
from wire.check import parse_body
from wire.errors import GatewayError, InvalidRequest, Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from coordinators.answer_cache import AnswerCache
    from coordinators.cache_use import Use
    from coordinators.catalog import Catalog
    from coordinators.keys import ClientKeys
    from coordinators.limits import Limits
    from coordinators.observing import Begun
    from coordinators.prices import Prices
    from coordinators.routing import RoutingTable
    from coordinators.runs import FlowRuns, OpenRun
    from coordinators.universal import Universal
    from express import Pipeline, StepRecord
    from flows.attempts import Patience
    from flows.prepare import House
    from tasks.count import TokenCounter
    from tasks.exchange import Exchange
    from tasks.live_stream import Live
    from wire.cache_directive import Directive


class Gateway:
    """Answers exchanges from its backends. Errors leave it as GatewayErrors, whatever was raised.

    `keep_answers` are the bytes of an answer that stay with its exchange for who observes its end; 0: none.
    """

    def __init__(
        self,
        *,
        backends: RoutingTable,
        universal: Universal,
        counter: TokenCounter,
        catalog: Catalog,
        keys: ClientKeys,
        limits: Limits,
        prices: Prices,
        runs: FlowRuns,
        patience: Patience,
        cache: AnswerCache,
        house: House,
        ping_seconds: float,
        keep_answers: int = 0,
        describe: Callable[[], dict[str, Any]],
        check_health: Callable[[Gateway], Awaitable[dict[str, Any]]],
    ) -> None:
        self.backends = backends
        self.universal = universal
        self.catalog = catalog
        self.cache = cache
        self.ping_seconds = ping_seconds
        self.description = describe
        self._counter = counter
        self._keys = keys
        self._limits = limits
        self._prices = prices
        self._runs = runs
        self._patience = patience
        self._house = house
        self._keep_answers = keep_answers
        self._check_health = check_health
        self._open: set[Live] = set()
        self._refreshing: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    @property
    def streams_open(self) -> int:
        """How many streams are being sent now."""
        return len(self._open)

    def under_way(self, most: int) -> list[Begun]:
        """Give the oldest requests that have not ended."""
        return self._runs.under_way(most)

    def authenticate(self, headers: Mapping[str, str]) -> str:
        """Give the tenant; raises AuthenticationFailed."""
        return self._keys.check(headers)

    async def health(self) -> dict[str, Any]:
        """Give every part and its state."""
        return await self._check_health(self)

    async def answer(self, exchange: Exchange) -> Whole | Sending:
        """Answer a Messages request; raises GatewayError."""
        tenant = self._keys.check(exchange.headers)
        _peek(exchange)
        self._limits.admit(exchange, tenant)
        exchange.cache = use = self.cache.consider(exchange, tenant)
        answer = await self._answer(exchange, streaming, messages)
        if use is not None:
            self._refresh(use)
        else:
            answer.headers["x-headgate-cache"] = "bypass"
        return answer

    async def answer_own(self, exchange: Exchange) -> Whole | Sending:
        """Answer a request of the gateway's own: no key is asked for, no cache; raises GatewayError."""
        _peek(exchange)
        return await self._answer(exchange, streaming, messages)

    async def answer_item(self, exchange: Exchange, tenant: str) -> Whole:
        """Answer a batch's request, whole, for the tenant that the batch was made by; raises GatewayError."""
        self._keys.check_tenant(tenant)
        self._limits.admit(exchange, tenant)
        exchange.cache = use = self.cache.consider(exchange, tenant)
        answer = await self._answer(exchange, messages, messages)
        assert isinstance(answer, Whole)  # noqa: S101 - the flow's answer is
        if use is not None:
            self._refresh(use)
        return answer

    async def answer_cached(self, exchange: Exchange) -> Whole | Sending:
        """Answer a Messages request as a stream; its `cache` object says how the cache is used."""
        tenant = self._keys.check(exchange.headers)
        body = parse_body(exchange.raw)
        directive = from_object(body.get("cache", {}))
        exchange.body = {name: value for name, value in body.items() if name != "cache"} | {"stream": True}
        self._limits.admit(exchange, tenant)
        exchange.cache = use = self.cache.take(exchange, tenant, directive)
        answer = await self._answer(exchange, streaming, messages)
        self._refresh(use)
        return answer

    async def warm(self, exchange: Exchange, tenant: str, directive: Directive) -> str:
        """Have a request's answer stored; give `present` if it was, `stored`, or `unfit` to be stored."""
        self._limits.admit(exchange, tenant)
        use = self.cache.take(exchange, tenant, directive)
        await self._read_through(exchange, use)
        return "present" if use.outcome == "hit" else "stored" if use.kept else "unfit"

    async def run(self, flow: Pipeline[..., Any], exchange: Exchange, *args: Any) -> Whole:
        """Run a flow of the gateway's own, recorded as requests are; raises GatewayError."""
        run = self._runs.open(flow, exchange, "gateway")
        return self._settle(await self._call(run, exchange, *args), exchange, run)

    async def _read_through(self, exchange: Exchange, use: Use) -> None:
        exchange.cache = use
        answer = await self._answer(exchange, streaming, messages)
        if isinstance(answer, Sending):
            async with aclosing(answer.frames) as frames:  # type: ignore[type-var]
                async for _ in frames:
                    pass

    def _refresh(self, use: Use) -> None:
        """Ask anew, in the background, for what was answered though its time was over."""
        if not use.stale or (again := use.again()) is None:
            return

        async def refresh() -> None:
            with again.refreshing(), suppress(GatewayError):
                await self._read_through(again.exchange, again)

        task = asyncio.create_task(refresh())
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def complete_chat(self, exchange: Exchange) -> Whole | Sending:
        """Answer a chat/completions request; raises GatewayError."""
        exchange.format = "openai"
        tenant = self._keys.check(exchange.headers)
        _peek(exchange)
        self._limits.admit(exchange, tenant)
        return await self._answer(exchange, chat_streaming, chat_completions)

    async def _answer(
        self, exchange: Exchange, streamed: Pipeline[..., Any], whole: Pipeline[..., Any]
    ) -> Whole | Sending:
        flow = streamed if exchange.stream else whole
        run = self._runs.open(flow, exchange, self._first_choice(exchange))
        answer: Whole | Streaming = await self._call(
            run, exchange, self.backends, self._patience, self._house
        )
        if isinstance(answer, Whole):
            return self._settle(answer, exchange, run)
        return await self._send(answer, exchange, run)

    async def answer_universally(self, exchange: Exchange, output: str | None) -> Sending:
        """Answer with the universal stream; `output` is the query's word for its format. Raises as above."""
        tenant = self._keys.check(exchange.headers)
        _peek(exchange)
        self._limits.admit(exchange, tenant)
        if exchange.body is not None:
            exchange.body["stream"] = True
            if output is not None:
                exchange.body["output"] = output
        run = self._runs.open(universal_flow, exchange, "universal")
        answer: Streaming = await self._call(
            run, exchange, self.universal, output, self._patience, self._house
        )
        return await self._send(answer, exchange, run)

    async def count_tokens(self, exchange: Exchange) -> Whole:
        """Answer a count_tokens request; raises GatewayError."""
        self._keys.check(exchange.headers)
        return await self.count_own(exchange)

    async def count_own(self, exchange: Exchange) -> Whole:
        """Count a request of the gateway's own, without a key; raises GatewayError."""
        _peek(exchange)
        first = self._first_choice(exchange)
        run = self._runs.open(count_tokens, exchange, first)
        answer: Whole = await self._call(run, exchange, self.backends, self._counter)
        answer.headers["x-headgate-backend"] = first
        return self._settle(answer, exchange, run)

    def _first_choice(self, exchange: Exchange) -> str:
        """Name the backend that the run is tagged with from its start."""
        try:
            return self.backends.routes(exchange.model)[0].target.backend
        except GatewayError:  # the flow's own step says so
            return self.backends.default.name

    async def _call(self, run: OpenRun, exchange: Exchange, *args: Any) -> Any:
        try:
            return await run.call(exchange, *args)
        except GatewayError as error:
            run.fail(error, trials(exchange))
            raise
        except asyncio.CancelledError as error:
            run.cancel(ClientLeft.instead_of(error), trials(exchange))
            raise
        except Exception as error:
            known = run.crash(error)
            told = GatewayError(f"the gateway failed on this request ({type(error).__name__})")
            told.hash = known
            raise told from error

    async def _send(self, answer: Streaming, exchange: Exchange, run: OpenRun) -> Sending:
        frames = self._relay(answer.live, exchange, run)
        await anext(frames)  # begun, so that closing it closes the upstream even if nothing was read
        return Sending(frames, told_of(exchange) | answer.headers, answer.ping)

    def _settle(self, answer: Whole, exchange: Exchange, run: OpenRun) -> Whole:
        self._prices.complete(answer.summary, exchange)
        if self._keep_answers:
            exchange.kept = [answer.body] if len(answer.body) <= self._keep_answers else []
        summary = {**answer.summary, "answer_bytes": len(answer.body), **trials(exchange)}
        # after the answer is sent: the client need not wait for its record and its log line
        asyncio.get_running_loop().call_soon(run.complete, summary)
        self._count_usage(answer.summary, exchange)
        answer.headers.update(told_of(exchange))
        return answer

    def _count_usage(self, summary: dict[str, Any], exchange: Exchange) -> None:
        if exchange.tried:  # and not answered from the cache
            self.cache.asked_upstream(summary)

    async def _relay(self, live: Live, exchange: Exchange, run: OpenRun) -> AsyncIterator[bytes]:
        """Pass a stream's frames on; an error in its midst becomes one SSE `error` event."""
        tally = Tally(exchange, live, self._prices)
        relay = run.open_step("relay_stream")
        self._open.add(live)
        try:
            yield b""
            source = live.frames()
            if self._keep_answers:
                source = _keeping(source, exchange, self._keep_answers)
            async with aclosing(source) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    tally.size += len(frame)
                    yield frame
            if live.translator.failed:
                told = error_told(live.translator)
                relay.fail(told)
                run.fail(told, tally.summary())
            else:
                relay.close()
                self._count_usage(summary := tally.summary(), exchange)
                run.complete(summary)  # last: what fails before it ends the run as a crash
        except GatewayError as error:
            yield _broken_off(_cut_short(error) if live.cut else error, run, relay, tally)
        except (asyncio.CancelledError, GeneratorExit) as error:
            _left(ClientLeft.instead_of(error), run, relay, tally)
            raise
        except Exception as error:  # noqa: BLE001 - the client is told, the log has the traceback
            relay.fail(error)
            failed = GatewayError(f"the gateway failed on this stream ({type(error).__name__})")
            failed.hash = run.crash(error)
            yield live.fail(failed, exchange.id)
        finally:
            self._open.discard(live)
            if not self._open:
                self._ended.set()
            await live.close()

    async def drain(self, seconds: float) -> None:
        """Let open streams end for `seconds`, then cut the rest with an SSE error each."""
        if self._open:
            self._ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
        for live in list(self._open):
            live.cut = True
            await live.close()


async def _keeping(source: AsyncIterator[bytes], exchange: Exchange, most: int) -> AsyncIterator[bytes]:
    """Pass frames on, and keep them with the exchange unless they become more than `most` bytes."""
    kept: list[bytes] = []
    exchange.kept, size = kept, 0
    async with aclosing(source) as frames:  # type: ignore[type-var]
        async for frame in frames:
            size += len(frame)
            if size <= most:
                kept.append(frame)
            else:
                kept.clear()
            yield frame


# Apart from `_relay`, whose frame would hold the error that holds the frame: of a thousand clients that leave
# at once all that they had would wait for the collector of garbage.


def _broken_off(error: GatewayError, run: OpenRun, relay: StepRecord, tally: Tally) -> bytes:
    """End a run whose stream broke off; give the event that tells the client."""
    relay.fail(error)
    run.fail(error, tally.whatever_is_known())
    return tally.live.fail(error, tally.exchange.id)


def _left(error: ClientLeft, run: OpenRun, relay: StepRecord, tally: Tally) -> None:
    """End a run whose client is gone."""
    relay.fail(error)
    run.cancel(error, tally.whatever_is_known())


def _cut_short(error: GatewayError) -> GatewayError:
    told = Overloaded("the gateway is shutting down; send the request again")
    return told.with_traceback(error.__traceback__)


def _peek(exchange: Exchange) -> None:
    """Parse the body to pick the flow; a broken one is refused by the flow's own first step."""
    try:
        exchange.body = parse_body(exchange.raw)
    except InvalidRequest:
        exchange.body = None
