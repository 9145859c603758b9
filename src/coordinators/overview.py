"""The overview: what goes on here, gathered for one page, within bounds and off the event loop."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coordinators import cache_reports
from coordinators.error_reading import ErrorReader
from wire.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from coordinators.answer_cache import AnswerCache
    from coordinators.daily_use import DailyUse
    from coordinators.health import Readiness
    from coordinators.keys import AdminKeys
    from coordinators.lately import Lately
    from coordinators.overview_batches import BatchesLately
    from coordinators.overview_page import Page
    from wire.messages import Json

LIVE_SECONDS = 2.0
UNDER_WAY = 25
"""How many requests under way are listed at most: the oldest, which are those to ask about."""

_FRESH_SECONDS = 1.0
_ERRORS_SECONDS = 10.0
_MOST_ERROR_BYTES = 4 * 1024 * 1024
_MOST_FOLLOWERS = 20
_MOST_ERRORS = 25
_SILENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the overview looks. `workers` gives how each web process is now; it may read files.

    `check_health` gives what `/health/detailed` shows.
    """

    lately: Lately
    log_dir: Path
    cache: AnswerCache
    batches: BatchesLately
    workers: Callable[[], Sequence[Mapping[str, Any]]]
    check_health: Callable[[], Awaitable[Mapping[str, Any]]]
    use: DailyUse


class Overview:
    """Answers `/overview`, for managers. All who look share one gathering a second."""

    def __init__(self, sources: Sources, page: Page, admins: AdminKeys, readiness: Readiness) -> None:
        self._sources = sources
        self._page = page
        self._admins = admins
        self._readiness = readiness
        self._gathering = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._sections: dict[str, str] = {}
        self._gathered_at = float("-inf")
        self._reader = ErrorReader(sources.log_dir, _MOST_ERROR_BYTES)
        self._errors: list[Json] = []
        self._errors_at = float("-inf")
        self._followers = 0

    def admit(self, headers: Mapping[str, str], peer: str | None) -> None:
        """Let managers pass, also by a browser's own dialogue for passwords; raises GatewayErrors."""
        self._admins.check(_with_password(headers), peer)

    async def html(self, headers: Mapping[str, str], peer: str | None) -> tuple[str, dict[str, str]]:
        """Give the page and its headers; raises GatewayErrors."""
        self.admit(headers, peer)
        sections = await self.sections()
        return self._page.whole(sections)

    async def look(self) -> None:
        """Take what is new of the requests, by a thread."""
        async with self._looking:
            await asyncio.to_thread(self._sources.lately.refresh)

    async def sections(self) -> dict[str, str]:
        """Give the page's sections as HTML, by name; not older than a second."""
        async with self._gathering:
            if time.monotonic() - self._gathered_at >= _FRESH_SECONDS:
                view = await self._gather()
                self._sections = await asyncio.to_thread(self._page.sections, view)
                self._gathered_at = time.monotonic()
            return self._sections

    def follow(self, headers: Mapping[str, str], peer: str | None) -> AsyncIterator[dict[str, str]]:
        """Give the sections that changed, every two seconds; none of them after a silence.

        Ends when the server drains. Raises GatewayErrors, Overloaded if too many follow already.
        """
        self.admit(headers, peer)
        if self._followers >= _MOST_FOLLOWERS:
            raise Overloaded(f"{_MOST_FOLLOWERS} pages follow the overview already")
        return self._changes()

    async def _changes(self) -> AsyncIterator[dict[str, str]]:
        self._followers += 1
        try:
            seen: dict[str, str] = {}
            told = time.monotonic()
            while not self._readiness.draining:
                now = await self.sections()
                changed = {name: html for name, html in now.items() if seen.get(name) != html}
                if changed or time.monotonic() - told >= _SILENCE_SECONDS:
                    told = time.monotonic()
                    yield changed
                seen = now
                if await self._readiness.ended(LIVE_SECONDS):
                    return
        finally:
            self._followers -= 1

    async def _gather(self) -> dict[str, Any]:
        sources = self._sources
        health = await sources.check_health()  # looks at the requests first
        workers, errors = await asyncio.gather(asyncio.to_thread(sources.workers), self._errors_lately())
        async with self._looking:
            rows = list(sources.lately.rows)[::-1]
            minutes = sources.lately.minutes()
        return {
            "health": health,
            "now": _now(workers),
            "rows": rows,
            "minutes": minutes,
            "all_workers": sources.lately.all_workers,
            "errors": errors,
            "cache": await self._cache(),
            "batches": await sources.batches.look(),
            "use": await sources.use.look(),
        }

    async def _errors_lately(self) -> list[Json]:
        if time.monotonic() - self._errors_at >= _ERRORS_SECONDS:
            tally = await asyncio.to_thread(self._reader.tally)
            rows = sorted((seen.summary() for seen in tally.values()), key=_last_seen, reverse=True)
            self._errors, self._errors_at = rows[:_MOST_ERRORS], time.monotonic()
        return self._errors

    async def _cache(self) -> Json | None:
        cache = self._sources.cache
        if cache.idle and not cache.settings.on:
            return None
        return await cache_reports.stats(cache)


def _with_password(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Give the headers with a browser's password, if it sent one, in the place of an admin key."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return headers
    try:
        _, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return headers
    return {**headers, "x-headgate-admin-key": password}


def _last_seen(row: Json) -> str:
    return str(row.get("last") or "")


def _began(line: Json) -> str:
    return str(line.get("began") or "")


def _now(workers: Sequence[Mapping[str, Any]]) -> Json:
    backends = [one for worker in workers for one in worker.get("backends", ())]
    begun = [one for worker in workers for one in worker.get("under_way", ())]
    return {
        "begun": sorted(begun, key=_began)[:UNDER_WAY],
        "workers": sum(worker.get("web", True) for worker in workers),
        "streams": sum(worker.get("streams_open", 0) for worker in workers),
        "running": sum(one.get("running", 0) for one in backends),
        "waiting": sum(one.get("waiting", 0) for one in backends),
    }
