"""The owner of the cache: what it keeps, what it counts, and how it goes on when its store does not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from coordinators import answer_cache, cache_use
from coordinators.answer_cache import AnswerCache, packed
from coordinators.cache_counts import CacheCounts, percentiles
from coordinators.cache_disk import DiskStore
from coordinators.cache_entries import Selection, page, read_selection
from coordinators.cache_reports import health, measure, stats
from coordinators.cache_settings import CacheSettings
from coordinators.cache_store import Row, StoreFailed, Totals
from coordinators.cache_use import Teed, Use
from coordinators.keys import AdminKeys
from coordinators.prices import Price, Prices
from tasks.backend import Route, Target
from tasks.exchange import Exchange, Streaming, Whole
from tasks.look_up_cache import Replayed, unpaid
from wire.cache_directive import Directive
from wire.errors import AuthenticationFailed, InvalidRequest, Overloaded, PermissionDenied, UpstreamFailed
from wire.timeline import Junk, Tick
from wire.unfold import unfold_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TARGET = Target("claude", "vendor/claude", "chat", "KEY")
ROUTE = Route(TARGET, None)  # type: ignore[arg-type]
BODY = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": {}}


@asynccontextmanager
async def opened(folder: Path, prices: Prices | None = None, **settings: Any) -> AsyncIterator[AnswerCache]:
    store = DiskStore(folder / "cache", 10**7)
    cache = AnswerCache(CacheSettings(on=True, **settings), store, prices)
    yield cache
    await cache.close()


def using(cache: AnswerCache, directive: Directive | None = None, *, stream: bool = False) -> Use:
    exchange = Exchange("req_1", {}, b"", BODY | {"stream": stream}, tried=[TARGET])
    return cache.take(exchange, "tenant", directive or Directive("on"))


def whole(stop_reason: str = "end_turn", **summary: Any) -> Whole:
    body = orjson.dumps(MESSAGE | {"stop_reason": stop_reason})
    return Whole(body, summary={"stop_reason": stop_reason, **summary})


async def kept(use: Use, answer: Whole) -> bool:
    """Store an answer, and say whether the next one finds it."""
    assert await use.find(BODY, ROUTE) is None
    use.keep_whole(answer)
    again = using(use._cache)
    return await again.find(BODY, ROUTE) is not None


async def test_an_answer_is_there_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        assert await kept(using(cache), whole(input_tokens=5, output_tokens=7, cost_usd=0.25))
        told = await stats(cache)
        assert (told["hits"], told["misses"], told["stored"], told["hit_rate"]) == (1, 1, 1, 0.5)
        assert told["saved"] == {"input_tokens": 5, "output_tokens": 7, "cost_usd": 0.25}
        assert told["latency"]["hit"]["count"] == 1
        assert told["held"]["entries"] == 1


async def test_a_fallbacks_answer_is_not_what_was_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        use = using(cache)
        use.exchange.tried.append(Target("claude", "another", "chat", "KEY"))
        assert not await kept(use, whole())
        assert cache.counts.peek()["not_stored"] == 1


@pytest.mark.parametrize(
    "settings", [{"largest": 5}, {"ttl": 0}, {"ttls": {"claude": 0}}, {"ttls": {"vendor/claude": 0}}]
)
async def test_what_is_not_kept(tmp_path: Path, settings: dict[str, Any]) -> None:
    async with opened(tmp_path, **settings) as cache:
        assert not await kept(using(cache), whole())


async def test_too_much_at_once_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as cache:
        monkeypatch.setattr(answer_cache, "_MOST_PENDING", 5)
        assert not await kept(using(cache), whole())


@pytest.mark.parametrize("stale", [0.0, 60.0])
async def test_stale_answers_by_option(tmp_path: Path, stale: float) -> None:
    async with opened(tmp_path, ttl=0.01, stale=60.0) as cache:
        assert await kept(using(cache), whole())
        await asyncio.sleep(0.02)
        use = using(cache, Directive("on", stale=stale))
        assert (await use.find(BODY, ROUTE) is not None) is bool(stale)
        assert use.stale is bool(stale)
        if stale:
            again = use.again()
            assert again is not None
            with again.refreshing():
                assert use.again() is None
            assert again.tags == ["cache:bypass"]
            assert use.tags == ["cache:hit", "cache:stale"]


async def test_entries_of_a_strange_form_are_a_miss(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        use = using(cache)
        await use.find(BODY, ROUTE)
        assert use.key is not None
        odd = b'event: news\ndata: {"type":"news"}\n\n' + unfold_bytes(MESSAGE)
        for facts in ({}, {"stored": "x", "ttl": 1}, {"stored": None, "ttl": 1}):
            value, told = packed(use.key, facts, b"{}", [])
            await cache.store.put(use.key, value, told, 60)
            assert await using(cache).find(BODY, ROUTE) is None
        value, told = packed(use.key, {"stored": 9e9, "ttl": 60}, b"", [Tick(0, odd)])
        await cache.store.put(use.key, value, told, 60)
        assert await using(cache).find(BODY, ROUTE) is None  # its Message is not known
        found = await using(cache, stream=True).find(BODY, ROUTE)
        assert found is not None
        assert found.pieces()[0].data == odd


class Failing:
    """A store that fails where it is told to."""

    kind = "failing"

    def __init__(self, *where: str, error: Exception | None = None) -> None:
        self.where = set(where)
        self.calls: list[str] = []
        self.error = error or StoreFailed("no room")

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any, **__: Any) -> Any:
            self.calls.append(name)
            if name in self.where:
                raise self.error
            if name == "get":
                return b"junk" if "junk" in self.where else None
            return {"totals": Totals(0, 0, 0), "counts": {}}.get(name, 0)

        return call


async def test_a_store_that_does_not_open_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (StoreFailed("no room"), RuntimeError("a bug")):
        store = Failing("open", error=error)
        cache = AnswerCache(CacheSettings(), store)  # type: ignore[arg-type]
        for _ in range(3):
            assert await using(cache).find(BODY, ROUTE) is None
        assert store.calls == ["open"]
        assert str(error) in str(cache.trouble)
        assert (await health(cache))["status"] == "degraded"
        assert (await stats(cache))["failures"] == 1
        with pytest.raises(Overloaded, match="cannot be measured"):
            await measure(cache, 1)
        use = using(cache)
        await use.find(BODY, ROUTE)
        use.keep_whole(whole())
        await cache.settled()
        monkeypatch.setattr(cache, "_resume_at", 0.0)
        store.where.clear()
        assert await cache.ready()
        assert cache.trouble is None
        await cache.close()


async def test_a_store_that_fails_fails_no_request() -> None:
    for where in ("get", "put", "note", "totals", "counts", "delete"):
        store = Failing(where, "junk") if where == "delete" else Failing(where)
        cache = AnswerCache(CacheSettings(), store)  # type: ignore[arg-type]
        use = using(cache)
        assert await use.find(BODY, ROUTE) is None
        use.keep_whole(whole())
        await cache.settled()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await cache.note()
        assert set(await stats(cache)) >= {"hits", "held", "saved", "latency"}
        if where == "totals":
            assert (await health(cache))["status"] == "degraded"
        store.where.clear()
        await cache.close()


async def test_a_store_that_opens_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "OPENING_SECONDS", 0.01)
    gate = asyncio.Event()
    store: Any = Failing()
    store.open = gate.wait
    cache = AnswerCache(CacheSettings(), store)
    assert not await cache.ready()
    with pytest.raises(StoreFailed, match="being opened"):
        await cache.usable()
    gate.set()
    await asyncio.sleep(0.01)
    assert await cache.ready()
    await cache.close()


async def test_nothing_is_opened_that_nobody_used() -> None:
    store = Failing()
    cache = AnswerCache(CacheSettings(), store)  # type: ignore[arg-type]
    await cache.note()
    await cache.close()
    assert store.calls == []


TOLD = {"input_tokens": 10, "output_tokens": 2, "total": None}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_estimated_cost_is_saved_too(tmp_path: Path, stream: bool) -> None:
    prices = Prices({(TARGET.backend, TARGET.model): Price(0.25, 0.5, 0, 0)})
    async with opened(tmp_path, prices=prices) as cache:
        use = using(cache, stream=stream)
        assert await use.find(BODY, ROUTE) is None
        answer = whole(**TOLD)
        if stream:
            live = Live(STREAM)
            live.translator.usage, live.translator.cost = TOLD, None
            async for _ in use.keep_stream(Streaming(live)).live.frames():
                pass
        else:
            use.keep_whole(answer)
        found = await using(cache, stream=stream).find(BODY, ROUTE)
        assert found is not None
        assert found.facts["summary"]["cost_usd"] == 3.5
        assert answer.summary.get("cost_usd") is None
        replayed = unpaid(found.facts["summary"])
        assert replayed["cost_usd"] is None  # it was paid when it was stored
        assert "cost_estimated" not in replayed
        assert (await stats(cache))["saved"]["cost_usd"] == 3.5


USAGE = {"input_tokens": 60, "cache_read_input_tokens": 40}


async def test_what_was_asked_upstream_is_known_to_all_though_nobody_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_cache, "COUNT_SECONDS", 0.01)
    async with opened(tmp_path) as asked, opened(tmp_path) as other:
        asked.asked_upstream(USAGE)
        asked.asked_upstream(USAGE)
        assert asked.idle
        told = await stats(other)
        while not told["upstream_prompt_cache"]["answers"]:
            await asyncio.sleep(0.01)
            told = await stats(other)
        assert told["upstream_prompt_cache"] == {
            "answers": 2, "input_tokens": 120, "read_tokens": 80, "written_tokens": 0, "hit_rate": 0.4,
        }  # fmt: skip
        asked.asked_upstream(USAGE)  # and again, for the time after the first
        while told["upstream_prompt_cache"]["answers"] < 3:
            await asyncio.sleep(0.01)
            told = await stats(other)


async def test_what_was_asked_upstream_is_written_at_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as asked:
        asked.asked_upstream(USAGE)
    async with opened(tmp_path) as other:
        assert (await stats(other))["upstream_prompt_cache"]["answers"] == 1


async def test_counts_wait_for_a_store_that_fails() -> None:
    store = Failing("open")
    cache = AnswerCache(CacheSettings(), store)  # type: ignore[arg-type]
    cache.asked_upstream(USAGE)
    await cache.note()
    assert cache.counts.peek()["upstream_answers"] == 1
    cache.asked_upstream(USAGE)  # it is tried again
    assert cache._counting is not None
    await cache.close()
    assert cache._counting is None


class Live:
    """A live stream of given pieces."""

    def __init__(self, *pieces: bytes, failed: bool = False) -> None:
        self.cut = False
        self.translator: Any = type(
            "Told",
            (),
            {"failed": failed, "stop_reason": "end_turn", "usage": None, "cost": 0.1, "generation_id": "g"},
        )
        self._pieces = pieces
        self.closed = False

    async def frames(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    def fail(self, error: Any, request_id: str) -> bytes:
        return request_id.encode()

    async def close(self) -> None:
        self.closed = True


STREAM = unfold_bytes(MESSAGE | {"stop_reason": "end_turn"})


@pytest.mark.parametrize(
    ("live", "largest", "stored"),
    [
        (Live(STREAM[:50], STREAM[50:]), 10_000, True),
        (Live(STREAM[:50], STREAM[50:], b"late"), 10_000, True),
        (Live(STREAM, failed=True), 10_000, False),
        (Live(STREAM[:50]), 10_000, False),
        (Live(STREAM[:50], STREAM[50:]), 60, False),
    ],
)
async def test_a_stream_is_stored_at_its_end(tmp_path: Path, live: Live, largest: int, stored: bool) -> None:
    async with opened(tmp_path, largest=largest) as cache:
        use = using(cache, stream=True)
        await use.find(BODY, ROUTE)
        teed = use.keep_stream(Streaming(live)).live
        assert [frame async for frame in teed.frames()] == list(live._pieces)
        assert teed.fail(UpstreamFailed(""), "req") == b"req"
        teed.cut = True
        assert (teed.cut, live.cut) == (True, True)
        await teed.close()
        assert live.closed
        found = await using(cache, stream=True).find(BODY, ROUTE)
        assert (found is not None) is stored
        if found is not None:
            assert found.pieces()[0].data == STREAM
            assert orjson.loads(found.message())["stop_reason"] == "end_turn"


async def test_a_request_that_bypasses_stores_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as cache:
        use = using(cache, Directive("off", single_flight=True), stream=True)
        assert await use.find(BODY, ROUTE) is None
        streaming = Streaming(Live())
        assert use.keep_stream(streaming).live.__class__ is not Teed

        async def ask() -> Any:
            return streaming

        assert await use.stream(ask) is streaming
        assert await use.whole(ask) is streaming  # type: ignore[comparison-overlap]
        assert use.headers == {"x-headgate-cache": "bypass"}


async def test_a_replay_takes_its_time_and_can_be_ended() -> None:
    replay = Replayed([Tick(0, b"a"), Tick(5, b"b"), Tick(60_000, b"c")], {})
    frames = replay.frames()
    assert [await anext(frames), await anext(frames)] == [b"a", b"b"]
    waiting = asyncio.create_task(anext(frames))
    await asyncio.sleep(0)
    await replay.close()
    with pytest.raises(UpstreamFailed, match="ended"):
        await waiting
    assert b"event: error" in replay.fail(UpstreamFailed("x"), "req")
    assert (replay.translator.usage, replay.translator.cost) == ({}, None)


def row(key: bytes = b"k", size: int = 3) -> Row:
    return Row(key, b"", size, 0.0, 0.0)


FACTS = {"model": "vendor/claude", "asked": "claude", "tags": ["a", "job:7"], "tenant": "t", "stored": 100.0}


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(key=b"k".hex()), True),
        (Selection(key="00"), False),
        (Selection(tag="a", model="claude"), True),
        (Selection(tag="a", model="other"), False),
        (Selection(model="vendor/claude"), True),
        (Selection(tag="b"), False),
        (Selection(pattern="vendor/*"), True),
        (Selection(pattern="job:?"), True),
        (Selection(pattern="x*"), False),
        (Selection(tenant="t"), True),
        (Selection(tenant="u"), False),
        (Selection(older_than=10), True),
        (Selection(older_than=30), False),
        (Selection(younger_than=30), True),
        (Selection(younger_than=10), False),
    ],
)
def test_selections(selection: Selection, taken: bool) -> None:
    assert selection.takes(row(), FACTS, 120.0) is taken


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"dry_run": True},
        {"all": "yes"},
        {"tag": 3},
        {"tag": ""},
        {"older_than": True},
        {"older_than": -1},
        {"x": 1},
    ],
)
def test_what_to_invalidate_must_be_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read_selection(wrong)


def test_what_to_invalidate() -> None:
    assert read_selection({"all": True, "dry_run": True}) == (Selection(), True)
    assert read_selection({"tag": "a", "older_than": 3, "all": False}) == (
        Selection(tag="a", older_than=3),
        False,
    )


async def test_junk_among_the_entries_is_passed_over() -> None:
    class Odd:
        async def rows(self) -> AsyncIterator[list[Row]]:
            yield [
                row()._replace(facts=b"["),
                row()._replace(facts=b'{"tenant":"t","stored":"x","tags":null}'),
            ]

        async def get(self, key: bytes) -> bytes:
            raise Junk("planted")

    listed = await page(Odd(), Selection(), offset=0, limit=5, bodies_of="t")  # type: ignore[arg-type]
    (entry,) = listed["data"]
    assert (entry["key"], entry["message"]) == (b"k".hex(), None)


def test_counts() -> None:
    counts = CacheCounts()
    counts.asked_upstream(
        {"input_tokens": 3, "cache_read_input_tokens": None, "cache_creation_input_tokens": True}
    )
    counts.saved({"output_tokens": "many"})
    taken = counts.take()
    assert taken["upstream_answers"] == 1
    assert taken["upstream_input_tokens"] == 3
    assert counts.peek() == {}
    counts.give_back(taken)
    assert counts.take() == taken
    assert percentiles([]) == {"count": 0}
    assert percentiles([0.001] * 99 + [0.5]) == {
        "count": 100, "p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 500.0, "max_ms": 500.0,
    }  # fmt: skip


HERE = {"host": "127.0.0.1:8082"}


@pytest.mark.parametrize(
    ("headers", "peer", "error"),
    [
        (HERE, "127.0.0.1", None),
        ({"host": "localhost"}, "::1", None),
        ({"host": "[::1]:8082", "origin": "http://localhost:3000"}, "::1", None),
        (HERE, "10.0.0.7", PermissionDenied),
        (HERE, None, PermissionDenied),
        ({"host": "evil.example"}, "127.0.0.1", PermissionDenied),
        (HERE | {"origin": "https://evil.example"}, "127.0.0.1", PermissionDenied),
        ({}, "127.0.0.1", PermissionDenied),
    ],
)
def test_without_keys_managers_are_on_this_machine(headers: Any, peer: str | None, error: Any) -> None:
    admins = AdminKeys((), clients=lambda: False)
    assert admins.holds(headers, peer) is (error is None)
    if error is not None:
        with pytest.raises(error):
            admins.check(headers, peer)


def test_with_client_keys_but_no_admin_key_nobody_manages() -> None:
    with pytest.raises(PermissionDenied, match="HEADGATE_ADMIN_KEYS"):
        AdminKeys((), clients=lambda: True).check(HERE | {"x-api-key": "client"}, "127.0.0.1")


def test_admin_keys() -> None:
    admins = AdminKeys(("one", "two"), clients=lambda: True)
    for headers in ({"x-headgate-admin-key": "two"}, {"x-api-key": "one"}, {"authorization": "Bearer two"}):
        admins.check(headers, None)
    for headers in ({}, {"x-headgate-admin-key": "three", "x-api-key": "one"}):
        with pytest.raises(AuthenticationFailed):
            admins.check(headers, "127.0.0.1")


def test_the_tail_of_a_frame_holds_its_end() -> None:
    assert STREAM.endswith(b"\n\n")
    assert cache_use._END in STREAM[-cache_use._TAIL :]
