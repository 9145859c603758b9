"""The gateway: authenticates, picks the flow, runs it, and settles it after the last byte."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from flows.chat_completions import chat_completions, chat_streaming
from flows.count_tokens import count_tokens
from flows.messages import messages, streaming
from flows.universal import universal as universal_flow
from tasks.exchange import Sending, Streaming, Whole
from tasks.render import usage_summary
from wire.check import parse_body
from wire.errors import GatewayError, InvalidRequest, Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from coordinators.catalog import Catalog
    from coordinators.keys import ClientKeys
    from coordinators.routing import RoutingTable
    from coordinators.runs import FlowRuns, OpenRun
    from coordinators.universal import Universal
    from express import Pipeline
    from flows.attempts import Patience
    from flows.prepare import House
    from tasks.count import TokenCounter
    from tasks.exchange import Exchange
    from tasks.live_stream import LiveStream


class Gateway:
    """Answers exchanges from its backends. Errors leave it as GatewayErrors, whatever was raised."""

    def __init__(
        self,
        *,
        backends: RoutingTable,
        universal: Universal,
        counter: TokenCounter,
        catalog: Catalog,
        keys: ClientKeys,
        runs: FlowRuns,
        patience: Patience,
        house: House,
        ping_seconds: float,
        describe: Callable[[], dict[str, Any]],
        check_health: Callable[[Gateway], Awaitable[dict[str, Any]]],
    ) -> None:
        self.backends = backends
        self.universal = universal
        self.catalog = catalog
        self.ping_seconds = ping_seconds
        self.description = describe
        self._counter = counter
        self._keys = keys
        self._runs = runs
        self._patience = patience
        self._house = house
        self._check_health = check_health
        self._open: set[LiveStream] = set()
        self._ended = asyncio.Event()

    @property
    def streams_open(self) -> int:
        """How many streams are being sent now."""
        return len(self._open)

    def authenticate(self, headers: Mapping[str, str]) -> str:
        """Give the tenant; raises AuthenticationFailed."""
        return self._keys.check(headers)

    async def health(self) -> dict[str, Any]:
        """Give every part and its state."""
        return await self._check_health(self)

    async def answer(self, exchange: Exchange) -> Whole | Sending:
        """Answer a Messages request; raises GatewayError."""
        return await self._answer(exchange, streaming, messages)

    async def complete_chat(self, exchange: Exchange) -> Whole | Sending:
        """Answer a chat/completions request; raises GatewayError."""
        exchange.format = "openai"
        return await self._answer(exchange, chat_streaming, chat_completions)

    async def _answer(
        self, exchange: Exchange, streamed: Pipeline[..., Any], whole: Pipeline[..., Any]
    ) -> Whole | Sending:
        self._keys.check(exchange.headers)
        _peek(exchange)
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
        self._keys.check(exchange.headers)
        _peek(exchange)
        if exchange.body is not None:
            exchange.body["stream"] = True
        run = self._runs.open(universal_flow, exchange, "universal")
        answer: Streaming = await self._call(
            run, exchange, self.universal, output, self._patience, self._house
        )
        return await self._send(answer, exchange, run)

    async def count_tokens(self, exchange: Exchange) -> Whole:
        """Answer a count_tokens request; raises GatewayError."""
        self._keys.check(exchange.headers)
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
            run.fail(error, _trials(exchange))
            raise
        except asyncio.CancelledError as error:
            run.cancel(error, _trials(exchange))
            raise
        except Exception as error:
            run.crash(error)
            raise GatewayError(f"the gateway failed on this request ({type(error).__name__})") from error

    async def _send(self, answer: Streaming, exchange: Exchange, run: OpenRun) -> Sending:
        frames = self._relay(answer.live, exchange, run)
        await anext(frames)  # begun, so that closing it closes the upstream even if nothing was read
        return Sending(frames, _answered_by(exchange) | answer.headers, answer.ping)

    def _settle(self, answer: Whole, exchange: Exchange, run: OpenRun) -> Whole:
        summary = {**answer.summary, "answer_bytes": len(answer.body), **_trials(exchange)}
        # after the answer is sent: the client need not wait for its record and its log line
        asyncio.get_running_loop().call_soon(run.complete, summary)
        answer.headers.update(_answered_by(exchange))
        return answer

    async def _relay(self, live: LiveStream, exchange: Exchange, run: OpenRun) -> AsyncIterator[bytes]:
        """Pass a stream's frames on; an error in its midst becomes one SSE `error` event."""
        tally = _Tally(exchange, live)
        relay = run.open_step("relay_stream")
        self._open.add(live)
        try:
            yield b""
            async with aclosing(live.frames()) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    tally.size += len(frame)
                    yield frame
            relay.close()
            if live.translator.failed:
                run.fail(GatewayError("the upstream told of an error in mid-stream"), tally.summary())
            else:
                run.complete(tally.summary())
        except GatewayError as error:
            told = Overloaded("the gateway is shutting down; send the request again") if live.cut else error
            relay.fail(told)
            run.fail(told, tally.summary())
            yield live.fail(told, exchange.id)
        except (asyncio.CancelledError, GeneratorExit) as error:
            relay.fail(error)
            run.cancel(error, tally.summary())
            raise
        except Exception as error:  # noqa: BLE001 - the client is told, the log has the traceback
            relay.fail(error)
            run.crash(error)
            yield live.fail(
                GatewayError(f"the gateway failed on this stream ({type(error).__name__})"), exchange.id
            )
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


class _Tally:
    """What a stream's run says of it at its end."""

    def __init__(self, exchange: Exchange, live: LiveStream) -> None:
        self.size = 0
        self._exchange = exchange
        self._live = live
        self._first_byte = time.time()

    def summary(self) -> dict[str, Any]:
        translator = self._live.translator
        return {
            **usage_summary(translator.usage or {}, translator.cost),
            "stop_reason": translator.stop_reason,
            "generation_id": translator.generation_id,
            "ttft_ms": round((self._first_byte - self._exchange.started) * 1000, 1),
            "answer_bytes": self.size,
            **_trials(self._exchange),
        }


def _answered_by(exchange: Exchange) -> dict[str, str]:
    """Say in headers who answered, and which of the client's parameters had no effect there."""
    headers = {"x-headgate-backend": exchange.tried[-1].backend} if exchange.tried else {}
    if left_out := [name for names in exchange.left_out.values() for name in names]:
        headers["x-headgate-left-out"] = ",".join(left_out)
    return headers


def _trials(exchange: Exchange) -> dict[str, Any]:
    """Say how many calls it took, and who came last when it was not the first choice."""
    told: dict[str, Any] = {"attempts": exchange.attempts}
    if len(exchange.tried) > 1:
        last = exchange.tried[-1]
        told |= {"fallback": f"{last.backend}: {last.model}"}
    return told


def _peek(exchange: Exchange) -> None:
    """Parse the body to pick the flow; a broken one is refused by the flow's own first step."""
    try:
        exchange.body = parse_body(exchange.raw)
    except InvalidRequest:
        exchange.body = None
