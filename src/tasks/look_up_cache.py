"""Answer from the cache: find what was stored, and give it in the form the client asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from express import step
from tasks.exchange import Streaming, Whole
from wire.errors import UpstreamFailed, error_body
from wire.sse import encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tasks.backend import Route
    from tasks.cache import CacheUse
    from wire.errors import GatewayError
    from wire.messages import Json
    from wire.timeline import Entry, Tick

_COST = frozenset({"cost_usd", "cost_estimated"})


@step
async def look_up_cache(body: Json, routes: tuple[Route, ...], cache: CacheUse) -> Entry | None:
    """Give the stored answer of the first choice, if there is one; NotFound if the client takes no other."""
    return await cache.find(body, routes[0])


@step
def replay_message(entry: Entry) -> Whole:
    """Give a stored answer as a finished Message."""
    return Whole(entry.message(), _answered_by(entry), unpaid(entry.facts.get("summary") or {}))


@step
def replay_stream(entry: Entry, cache: CacheUse) -> Streaming:
    """Give a stored answer as a stream: at once, or in its own time."""
    return Streaming(Replayed(entry.pieces(paced=cache.paced), entry.facts), _answered_by(entry))


def unpaid(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Give the summary of an answer that was paid before, or by somebody else."""
    return {name: value for name, value in summary.items() if name not in _COST} | {"cost_usd": None}


def _answered_by(entry: Entry) -> dict[str, str]:
    headers = {"x-headgate-backend": str(entry.facts.get("backend", ""))}
    if left_out := entry.facts.get("left_out"):
        headers["x-headgate-left-out"] = ",".join(map(str, left_out))
    return headers


class Told:
    """What a run's summary says of a stream that no translator has read."""

    __slots__ = ("cost", "failed", "generation_id", "stop_reason", "usage")

    def __init__(self, facts: Json) -> None:
        summary = facts.get("summary") or {}
        self.failed = False
        self.usage: Json | None = summary
        self.cost = None  # paid when the answer was stored
        self.stop_reason = summary.get("stop_reason")
        self.generation_id = summary.get("generation_id")


class Replayed:
    """A stored stream, with the interface of a `LiveStream`."""

    def __init__(self, timeline: Sequence[Tick], facts: Json) -> None:
        self.translator = Told(facts)
        self.cut = False
        self._timeline = timeline
        self._closed = asyncio.Event()

    async def frames(self) -> AsyncIterator[bytes]:
        """Give the stream's bytes, each piece when its time has come; UpstreamFailed if it is cut."""
        started = asyncio.get_running_loop().time()
        for ms, data in self._timeline:
            wait = started + ms / 1000 - asyncio.get_running_loop().time()
            if wait > 0 and await _set_within(self._closed, wait):
                raise UpstreamFailed("the replay was ended")
            yield data

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Give the SSE `error` event that tells the client why the stream ends here."""
        return encode_event(error_body(error, request_id))

    async def close(self) -> None:
        """End the replay."""
        self._closed.set()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
