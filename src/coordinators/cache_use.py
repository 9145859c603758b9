"""The answer cache as one request uses it: what was asked of it, what it found, what is said of it."""

from __future__ import annotations

import time
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from tasks.exchange import Exchange, Whole
from tasks.look_up_cache import unpaid
from wire.cache_key import cache_key
from wire.errors import NotFound
from wire.messages import new_id
from wire.timeline import Tick

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from coordinators.answer_cache import AnswerCache
    from coordinators.flights import Reader
    from tasks.backend import Route, Target
    from tasks.exchange import Streaming
    from tasks.live_stream import Live, Telling
    from wire.cache_directive import Directive
    from wire.errors import GatewayError
    from wire.messages import Json
    from wire.timeline import Entry

_END = b"message_stop"
_TAIL = 80


class Use:
    """One request's part in the cache; `tenant` is a digest already.

    `outcome` and `age` are what the answer says; `note` says how, where a hit or a miss was no plain one.
    """

    def __init__(
        self,
        cache: AnswerCache,
        directive: Directive,
        tenant: str,
        exchange: Exchange,
        key: bytes | None = None,
    ) -> None:
        self.directive = directive
        self.outcome: Literal["hit", "miss", "bypass"] = "bypass"
        self.age = 0.0
        self.note: str | None = None
        self.key = key
        self.stale = False
        self.kept = False
        self._cache = cache
        self._tenant = tenant
        self.exchange = exchange
        self._target: Target | None = None
        self._reader: Reader | None = None

    @property
    def paced(self) -> bool:
        """Whether a stored stream is replayed in its own time."""
        return self.directive.paced

    @property
    def headers(self) -> dict[str, str]:
        """Give what the answer says of the cache."""
        told: dict[str, str] = {"x-headgate-cache": self.outcome}
        if self.outcome == "hit":
            told["age"] = str(int(self.age))
        if self.note is not None:
            told["x-headgate-cache-note"] = self.note
        return told

    @property
    def tags(self) -> list[str]:
        """Give the run's tags."""
        return [f"cache:{self.outcome}", *([f"cache:{self.note}"] if self.note else ())]

    def again(self) -> Use | None:
        """Give the use of a request like this one that asks anew; None if one is under way."""
        if self.key in self._cache.refreshing:
            return None
        exchange = self.exchange
        anew = Exchange(new_id("req"), exchange.headers, exchange.raw, exchange.body, tenant=exchange.tenant)
        return Use(self._cache, replace(self.directive, mode="refresh"), self._tenant, anew, key=self.key)

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        """Say that this request asks anew for an answer, so that no other does."""
        key = self.key
        assert key is not None  # noqa: S101 - only what was found is asked for anew
        self._cache.refreshing.add(key)
        try:
            yield
        finally:
            self._cache.refreshing.discard(key)

    async def find(self, body: Json, route: Route) -> Entry | None:
        """Give the stored answer, if there is one that the request takes; NotFound if it takes no other."""
        cache, directive = self._cache, self.directive
        if directive.mode == "off":
            cache.counts.add("bypasses")
            return None
        target = self._target = route.target
        self.key = cache_key(
            body,
            tenant=self._tenant,
            backend=target.backend,
            model=target.model,
            headers=self.exchange.headers,
            house=cache.settings.house,
        )
        self.outcome = "miss"
        entry = None
        if directive.mode != "refresh" and directive.max_age != 0:
            entry = await cache.read(self.key, self._unpack)
        if entry is None or not self._takes(entry):
            cache.counts.add("misses")
            if directive.mode == "only":
                raise NotFound("the cache has no answer to this request, and it says that no other is wanted")
            return None
        self.outcome = "hit"
        cache.hit(self.key, entry)
        return entry

    def _unpack(self, entry: Entry) -> None:
        """Unpack the form that the client asked for; raises Junk."""
        if self.exchange.stream:
            entry.pieces(paced=self.paced)
        else:
            entry.message()

    def _takes(self, entry: Entry) -> bool:
        """Decide by form and age; an answer past its time is taken if the request says so."""
        if not (self.exchange.stream or entry.has_message):
            return False
        try:
            age = time.time() - float(entry.facts["stored"])
            left = float(entry.facts["ttl"]) - age
        except (KeyError, TypeError, ValueError):
            return False
        if self.directive.max_age is not None and age > self.directive.max_age:
            return False
        stale = self.directive.stale if self.directive.stale is not None else self._cache.settings.stale
        if left <= -stale:
            return False
        self.age = max(0.0, age)
        if left <= 0:
            self.stale = True
            self.note = "stale"
        return True

    async def whole(self, ask: Callable[[], Awaitable[Whole]]) -> Whole:
        """Give what `ask` does, or what an identical request in flight is given, if that was asked for."""
        if self.key is None or not self.directive.single_flight:
            return await ask()
        answer, joined = await self._cache.flights.whole(self.key, ask, self.exchange)
        if not joined:
            return answer
        self._joined()
        if self.exchange.tried:  # whoever asked has left: this one pays
            return Whole(answer.body, summary=dict(answer.summary))
        return Whole(answer.body, summary=unpaid(answer.summary))

    async def stream(self, ask: Callable[[], Awaitable[Streaming]]) -> Streaming:
        """Give what `ask` does, likewise; several requests may then read one stream."""
        if self.key is None or not self.directive.single_flight:
            return await ask()
        answer, self._reader, joined = await self._cache.flights.stream(self.key, ask, self.exchange)
        if joined:
            self._joined()
        return answer

    def others_pay(self) -> bool:
        """Leave a shared stream that did not end well here; give whether others go on reading it."""
        return self._reader is not None and self._reader.leave()

    def _joined(self) -> None:
        self.outcome = "hit"
        self.note = "single-flight"
        self._cache.counts.add("shared_flights")

    def keep_whole(self, answer: Whole) -> None:
        """Store a finished answer, in the background, if it is one to keep."""
        if self._is_kept(answer.summary.get("stop_reason"), len(answer.body)):
            self._keep(answer.summary, message=answer.body)

    def keep_stream(self, answer: Streaming) -> Streaming:
        """Give the same stream, which stores itself once it has ended well."""
        if self.key is not None:
            answer.live = Teed(answer.live, self._keep_ticks, self._cache.settings.largest)
        return answer

    def _keep_ticks(self, ticks: list[Tick], told: Telling) -> None:
        size = sum(len(tick.data) for tick in ticks)
        if not told.failed and self._is_kept(told.stop_reason, size):
            usage = {name: count for name, count in (told.usage or {}).items() if isinstance(count, int)}
            summary = {
                **usage,
                "cost_usd": told.cost,
                "stop_reason": told.stop_reason,
                "generation_id": told.generation_id,
            }
            self._keep(summary, ticks=ticks)

    def _is_kept(self, stop_reason: object, size: int) -> bool:
        """Say whether an answer is complete, small enough, and the first choice's own."""
        settings = self._cache.settings
        kept = self.key is not None and stop_reason in settings.kept and size <= settings.largest
        kept = kept and self.exchange.tried[-1:] == [self._target]  # a fallback's is not what was asked for
        if not kept:
            self._cache.counts.add("not_stored")
        return kept

    def _keep(self, summary: Json, *, message: bytes = b"", ticks: list[Tick] | None = None) -> None:
        assert self.key is not None  # noqa: S101 - only answers that were looked up are kept
        assert self._target is not None  # noqa: S101 - likewise
        target, settings, directive = self._target, self._cache.settings, self.directive
        ttl = directive.ttl
        if ttl is None:
            ttl = settings.ttls.get(target.asked, settings.ttls.get(target.model, settings.ttl))
        stale = directive.stale if directive.stale is not None else settings.stale
        summary = dict(summary)  # not the run's own: it is written later
        self._cache.prices.complete(summary, self.exchange)
        facts: dict[str, Any] = {
            "tenant": self._tenant,
            "backend": target.backend,
            "model": target.model,
            "asked": target.asked,
            "tags": list(directive.tags),
            "stored": round(time.time(), 3),
            "ttl": ttl,
            "left_out": [name for names in self.exchange.left_out.values() for name in names],
            "form": "message" if message else "stream",
            "summary": summary,
        }
        self.kept = True
        self._cache.keep(self.key, facts, message, ticks or [], seconds=ttl + stale)


class Teed:
    """A live stream whose pieces are kept as they pass, by reference, and handed over at the message's end.

    Beyond `largest` bytes nothing is kept. A stream that is left, fails or breaks off hands over nothing.
    """

    def __init__(self, live: Live, keep: Callable[[list[Tick], Telling], None], largest: int) -> None:
        self._live = live
        self._keep = keep
        self._largest = largest

    @property
    def translator(self) -> Telling:
        """What is known of the answer."""
        return self._live.translator

    @property
    def cut(self) -> bool:
        """Whether the gateway itself ended the stream."""
        return self._live.cut

    @cut.setter
    def cut(self, value: bool) -> None:
        self._live.cut = value

    async def frames(self) -> AsyncIterator[bytes]:
        """Pass the frames on."""
        passed: list[tuple[float, bytes]] | None = []
        left, now = self._largest, time.monotonic
        async with aclosing(self._live.frames()) as frames:  # type: ignore[type-var]
            async for frame in frames:
                if passed is not None:
                    passed.append((now(), frame))
                    left -= len(frame)
                    if left < 0:
                        passed = None
                    elif _END in frame[-_TAIL:]:
                        self._keep(_ticks(passed), self._live.translator)  # before the client can ask again
                        passed = None
                yield frame

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the SSE `error` event that tells the client why the stream ends here."""
        return self._live.fail(error, request_id)

    async def close(self) -> None:
        """Close the upstream connection."""
        await self._live.close()


def _ticks(passed: list[tuple[float, bytes]]) -> list[Tick]:
    started = passed[0][0]
    return [Tick(int((when - started) * 1000), frame) for when, frame in passed]
