"""What the cache tells of itself: stats, health, configuration, and a measurement of itself."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from coordinators.answer_cache import packed
from coordinators.cache_counts import percentiles, rate
from coordinators.cache_store import StoreFailed
from tasks.look_up_cache import Replayed
from wire.errors import Overloaded
from wire.sse import encode_event
from wire.timeline import Tick, decode

if TYPE_CHECKING:
    from coordinators.answer_cache import AnswerCache
    from wire.messages import Json

_COUNTED = (
    "hits",
    "misses",
    "bypasses",
    "stored",
    "not_stored",
    "evicted",
    "refused",
    "failures",
    "shared_flights",
)
_EVENTS = 500


async def stats(cache: AnswerCache) -> Json:
    """Give the counts of all processes that share the store, and this one's latencies."""
    await cache.note()
    counts, held = cache.counts.peek(), None
    if await cache.ready():
        try:
            counts, totals = await cache.store.counts(), await cache.store.totals()
            held = {"entries": totals.entries, "bytes": totals.size, "limit": totals.limit}
        except StoreFailed as error:
            cache.fail(error)
    hits, misses = counts.get("hits", 0), counts.get("misses", 0)
    read, written = counts.get("upstream_cache_read_tokens", 0), counts.get("upstream_cache_write_tokens", 0)
    fresh = counts.get("upstream_input_tokens", 0)
    return {
        **{name: int(counts.get(name, 0)) for name in _COUNTED},
        "hit_rate": rate(hits, hits + misses),
        "held": held,
        "saved": {
            "input_tokens": int(counts.get("saved_input_tokens", 0)),
            "output_tokens": int(counts.get("saved_output_tokens", 0)),
            "cost_usd": round(counts.get("saved_cost_usd", 0), 6),
        },
        "latency": {
            "process": os.getpid(),
            **{name: percentiles(seconds) for name, seconds in cache.counts.latencies.items()},
        },
        "upstream_prompt_cache": {
            "answers": int(counts.get("upstream_answers", 0)),
            "input_tokens": int(fresh),
            "read_tokens": int(read),
            "written_tokens": int(written),
            "hit_rate": rate(read, read + written + fresh),
        },
    }


async def health(cache: AnswerCache) -> Json:
    """Say whether the store answers; requests are answered either way."""
    held: Json = {}
    if usable := await cache.ready():
        try:
            totals = await cache.store.totals()
            held = {"entries": totals.entries, "bytes": totals.size}
        except StoreFailed as error:
            cache.fail(error)
            usable = False
    return {
        "status": "ok" if usable and cache.trouble is None else "degraded",
        "default": "on" if cache.settings.on else "off",
        "store": cache.store.kind,
        "trouble": cache.trouble,
        **held,
    }


def configuration(cache: AnswerCache) -> Json:
    """Give the settings, and where the answers are."""
    told = asdict(cache.settings)
    del told["house"], told["on"]
    told["keep"] = sorted(cache.settings.kept)
    return {"default": "on" if cache.settings.on else "off", **told, "store": cache.store.describe()}


async def measure(cache: AnswerCache, rounds: int) -> Json:
    """Write answers to the store, read and replay them, delete them; give the times of each.

    Raises Overloaded if the store cannot be used.
    """
    ticks = _sample()
    facts: Json = {"tenant": "measurement", "stored": time.time(), "ttl": 60}
    times: dict[str, list[float]] = {"write": [], "read": [], "stream_replay": []}
    keys = [secrets.token_bytes(32) for _ in range(rounds)]
    value, told = packed(keys[0], facts, b"", ticks)
    try:
        store = await cache.usable()
        for key in keys:
            value, told = packed(key, facts, b"", ticks)
            with _timed(times["write"]):
                await store.put(key, value, told, 60)
        for key in keys:
            with _timed(times["read"]):
                found = await store.get(key)
                entry = decode(key, found or b"")
                entry.message()
            with _timed(times["stream_replay"]):
                async for _ in Replayed(entry.pieces(), entry.facts).frames():
                    pass
        await store.delete(keys)
    except (StoreFailed, ValueError) as error:
        raise Overloaded(f"the store cannot be measured: {error}") from error
    replayed = sum(times["stream_replay"])
    return {
        "rounds": rounds,
        "answer_bytes": sum(len(tick.data) for tick in ticks),
        "stored_bytes": len(value),
        **{name: percentiles(seconds) for name, seconds in times.items()},
        "stream_replay_events_per_second": round(_EVENTS * rounds / replayed),
    }


class _timed:  # noqa: N801 - reads as a word where it is used
    """Adds how long its block took to a list."""

    def __init__(self, times: list[float]) -> None:
        self._times = times

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._times.append(time.perf_counter() - self._started)


def _sample() -> list[Tick]:
    """Make the stream of an answer of some hundred words."""
    usage = {"input_tokens": 10, "output_tokens": _EVENTS}
    message = {
        "id": "msg_measured",
        "type": "message",
        "role": "assistant",
        "model": "measured",
        "content": [],
    }
    events: list[Json] = [
        {
            "type": "message_start",
            "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    for number in range(_EVENTS - 5):
        delta = {"type": "text_delta", "text": f"word {number} "}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events += [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]
    return [Tick(0, encode_event(event)) for event in events]
