"""The cache as its managers and its users see it: who may look and touch, and what they are given."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from coordinators import cache_reports
from coordinators.cache_entries import Selection, invalidate, page, read_selection
from coordinators.cache_store import StoreFailed
from flows.warm_cache import Warming, warm_cache
from tasks.exchange import Exchange, Sending, Whole
from wire.cache_directive import from_object
from wire.check import parse_body
from wire.errors import AuthenticationFailed, GatewayError, InvalidRequest, Overloaded
from wire.messages import new_id
from wire.sse import encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from coordinators.answer_cache import AnswerCache
    from coordinators.gateway import Gateway
    from coordinators.keys import AdminKeys, ClientKeys
    from wire.messages import Json

_MOST_REQUESTS = 10_000
_MOST_AT_ONCE = 64
_MOST_ROUNDS = 1000


class CacheAdmin:
    """Answers the cache's endpoints. `peer` is the address a request comes from; errors are GatewayErrors."""

    def __init__(self, gateway: Gateway, keys: ClientKeys, admins: AdminKeys) -> None:
        self._gateway = gateway
        self._keys = keys
        self._admins = admins

    @property
    def _cache(self) -> AnswerCache:
        return self._gateway.cache

    async def health(self, headers: Mapping[str, str], peer: str | None) -> Json:
        """Say how the store is, to clients and managers."""
        if not self._admins.holds(headers, peer):
            self._keys.check(headers)
        return await cache_reports.health(self._cache)

    async def stats(self, headers: Mapping[str, str], peer: str | None) -> Json:
        """Give counts and latencies."""
        self._admins.check(headers, peer)
        return await cache_reports.stats(self._cache)

    async def configuration(self, headers: Mapping[str, str], peer: str | None) -> Json:
        """Give the settings."""
        self._admins.check(headers, peer)
        return cache_reports.configuration(self._cache)

    async def entries(
        self,
        headers: Mapping[str, str],
        peer: str | None,
        selection: Selection,
        *,
        offset: int,
        limit: int,
        bodies: bool,
    ) -> Json:
        """List entries: to a client its own; to a manager every tenant's facts, but no other's answers."""
        own = self._own_tenant(headers)
        if not self._admins.holds(headers, peer):
            if own is None:
                self._keys.check(headers)  # raises
            selection = replace(selection, tenant=own)
        return await self._with_store(
            lambda store: page(
                store, selection, offset=offset, limit=limit, bodies_of=own if bodies else None
            )
        )

    async def invalidate(self, exchange: Exchange, peer: str | None) -> Whole:
        """Delete what the body selects."""
        self._admins.check(exchange.headers, peer)
        selection, dry_run = read_selection(parse_body(exchange.raw))
        done = await self._with_store(lambda store: invalidate(store, selection, dry_run=dry_run))
        return Whole(orjson.dumps(done))

    async def test(self, exchange: Exchange, peer: str | None) -> Whole:
        """Measure the cache, in so many `rounds`."""
        self._admins.check(exchange.headers, peer)
        asked = parse_body(exchange.raw) if exchange.raw.strip() else {}
        rounds = _number(asked, "rounds", 100, _MOST_ROUNDS)
        return Whole(orjson.dumps(await cache_reports.measure(self._cache, rounds)))

    async def warm(self, exchange: Exchange, peer: str | None) -> Whole | Sending:
        """Run `warm_cache` over the body's `requests`; with `stream`, tell how far it is as events."""
        self._admins.check(exchange.headers, peer)
        shared = self._cache.settings.shared
        tenant = "shared" if shared else self._keys.check(exchange.headers)
        asked = parse_body(exchange.raw)
        requests = asked.get("requests")
        if not isinstance(requests, list) or not 0 < len(requests) <= _MOST_REQUESTS:
            raise InvalidRequest(f"requests: must be a list of 1 to {_MOST_REQUESTS} Messages requests")
        for place, request in enumerate(requests):
            if not isinstance(request, dict):
                raise InvalidRequest(f"requests.{place}: must be an object")
        directive = from_object(asked.get("cache", {}))
        at_once = _number(asked, "at_once", 4, _MOST_AT_ONCE)

        async def warm(request: Json) -> str:
            one = Exchange(new_id("req"), exchange.headers, orjson.dumps(request), request)
            return await self._gateway.warm(one, tenant, directive)

        told: asyncio.Queue[Json | None] = asyncio.Queue()
        warming = Warming(requests, warm, told.put_nowait, at_once)
        if asked.get("stream") is not True:
            return await self._run(warming, exchange)
        return Sending(self._progress(warming, exchange, told))

    async def _run(self, warming: Warming, exchange: Exchange) -> Whole:
        done = await self._gateway.run(warm_cache, exchange, warming)
        await self._cache.settled()
        return done

    async def _progress(
        self, warming: Warming, exchange: Exchange, told: asyncio.Queue[Json | None]
    ) -> AsyncIterator[bytes]:
        task = asyncio.create_task(self._run(warming, exchange))
        task.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (counts := await told.get()) is not None:
                yield encode_event({"type": "progress", **counts})
            done = await task
            yield encode_event({"type": "result", **orjson.loads(done.body)})
        except GatewayError as error:
            yield encode_event({"type": "error", "error": {"type": error.type, "message": error.told}})
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, GatewayError):
                await task

    def _own_tenant(self, headers: Mapping[str, str]) -> str | None:
        """Give the digest of the client whose key was sent; None if none was."""
        with suppress(AuthenticationFailed):
            return self._cache.tenant(self._keys.check(headers))
        return None

    async def _with_store(self, work: Any) -> Json:
        try:
            done: Json = await work(await self._cache.usable())
        except StoreFailed as error:
            raise Overloaded(f"the cache's store cannot be used now: {error}") from error
        return done


def _number(asked: Json, name: str, default: int, most: int) -> int:
    value = asked.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise InvalidRequest(f"{name}: must be a whole number from 1 to {most}")
    return value
