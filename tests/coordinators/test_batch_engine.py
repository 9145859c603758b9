"""Batches are executed: every request gets one result, whatever the upstream, the lease or the clock does."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from anthropic.types import Message
from anthropic.types.messages import MessageBatchIndividualResponse
from sqlalchemy import literal

from coordinators import batch_rates
from coordinators.batch_artifacts import failure_rows
from coordinators.batch_heart import Heart
from coordinators.batch_items import Asker, Persistence
from coordinators.batch_pace import Pace
from coordinators.batch_watch import Watch
from tasks.batch import Item, ItemResult, LeaseLost
from tests.coordinators.batch_bench import EAGER, ask, bench_at, counted, upstream_calls

ANY = {"when": {"path": "chat"}, "times": 0}


@pytest.fixture
async def bench(tmp_path, openrouter):
    async with bench_at(tmp_path, openrouter.base_url, chunk=4) as bench:
        yield bench


def outcomes(results):
    return [result.outcome for result in results]


async def test_every_request_is_answered_as_if_it_had_been_sent_alone(bench, openrouter):
    openrouter.script({"text": "Answer.", **ANY})
    batch = await bench.make(*(ask(f"question {n}") for n in range(10)))
    async with bench.engine():
        ended, results = await bench.ended(batch)
    assert outcomes(results) == ["succeeded"] * 10
    assert [result.custom_id for result in results] == [f"item-{n}" for n in range(10)]
    message = Message.model_validate_json(results[3].body)
    assert message.content[0].text == "Answer."
    assert (ended.counts.succeeded, ended.counts.processing) == (10, 0)
    assert ended.input_tokens == sum(result.input_tokens for result in results) > 0
    assert ended.cost > 0
    assert sorted(upstream_calls(openrouter)) == sorted(f"question {n}" for n in range(10))
    assert all(state.done for state in await bench.store.chunks(batch.id))


async def test_what_may_pass_is_asked_again(bench, openrouter):
    openrouter.script(
        {"status": 429, "message": "slow down", "headers": {"Retry-After": "0"}, "times": 2},
        {"status": 500, "message": "oops"},
        {"status": 503, "message": "busy"},
        {"fault": "reset_before_headers"},
        {"text": "x" * 99, "fault": "half_json"},
        {"fault": "error_in_200"},
        {"text": "At last.", "times": 0},
    )
    batch = await bench.make(*(ask(f"{n}") for n in range(6)))
    async with bench.engine(persistence=Persistence(attempts=9, base=0.01, cap=0.02)):
        _, results = await bench.ended(batch)
    assert outcomes(results) == ["succeeded"] * 6
    assert sum(result.attempts for result in results) == 6 + 7 == len(upstream_calls(openrouter))


async def test_a_request_that_is_wrong_is_not_asked_again(bench, openrouter):
    openrouter.script({"status": 400, "message": "no such thing", "times": 0})
    batch = await bench.make(
        ask("refused upstream"), {"model": "openai/gpt-5"}, ask("streamed", stream=True), b"[1]", b"{"
    )
    async with bench.engine():
        ended, results = await bench.ended(batch)
    assert outcomes(results) == ["errored"] * 5
    assert ended.counts.errored == 5
    assert upstream_calls(openrouter) == ["refused upstream"]
    for result in results:
        line = {
            "custom_id": result.custom_id,
            "result": {"type": "errored", "error": orjson.loads(result.body)},
        }
        told = MessageBatchIndividualResponse.model_validate(line).result.error
        assert told.error.type == result.error_type == "invalid_request_error"
        assert told.request_id.startswith("req_")
        assert len(result.error_hash) == 12
    assert b"stream" in results[2].body
    assert len({result.error_hash for result in results}) > 1


async def test_what_prefect_is_shown_of_failures_quotes_nothing(bench, openrouter):
    openrouter.script({"status": 400, "message": "no: 'a secret'", "times": 0})
    batch = await bench.make(ask("a secret"))
    async with bench.engine():
        _, (result,) = await bench.ended(batch)
    assert b"a secret" in result.body
    (row,) = failure_rows([result])
    assert row.items() >= {"custom_id": "item-0", "error": "invalid_request_error", "attempts": 1}.items()
    assert row["hash"] == result.error_hash
    assert "secret" not in str(row)


async def test_what_never_passes_is_an_error_after_so_many_attempts(bench, openrouter):
    openrouter.script({"status": 500, "message": "still down", "times": 0})
    batch = await bench.make(ask("hopeless"))
    async with bench.engine(HEADGATE_COOLDOWN_AFTER=0):
        _, (result,) = await bench.ended(batch)
    assert (result.outcome, result.attempts, result.error_type) == ("errored", 4, "api_error")
    assert len(upstream_calls(openrouter)) == 4


async def test_a_backend_left_alone_costs_no_attempt(bench, openrouter):
    openrouter.script({"status": 500, "message": "down", "times": 2}, {"text": "Back.", "times": 0})
    batch = await bench.make(ask("patient"))
    settings = {"HEADGATE_COOLDOWN_AFTER": 1, "HEADGATE_COOLDOWN_SECONDS": 0.2}
    async with bench.engine(**settings):
        _, (result,) = await bench.ended(batch)
    assert (result.outcome, result.attempts) == ("succeeded", 3)


async def test_attempts_are_counted_over_a_restart(bench, openrouter):
    openrouter.script({"status": 500, "message": "down", "times": 0})
    batch = await bench.make(ask("unlucky"))
    slow = Persistence(attempts=3, base=60, cap=60)
    async with bench.engine(HEADGATE_COOLDOWN_AFTER=0, persistence=slow):
        await asyncio.to_thread(openrouter.wait_for, 1, "chat")
        await asyncio.sleep(0.7)  # until the attempt is written with its group
    async with bench.engine(HEADGATE_COOLDOWN_AFTER=0):
        _, (result,) = await bench.ended(batch)
    assert result.attempts == 4
    assert len(upstream_calls(openrouter)) == 4


async def test_cancelling_keeps_what_is_done_and_sends_nothing_more(bench, openrouter):
    openrouter.script({"text": "Done.", "times": 5}, {"text": "Late.", "first_delay": 0.5, "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(20)))
    async with bench.engine(HEADGATE_BATCH_CONCURRENCY=2):
        await bench.until(batch, lambda one: one.counts.succeeded >= 4)
        await bench.store.cancel(batch.id)
        ended, results = await bench.ended(batch)
    assert ended.counts.succeeded + ended.counts.canceled == 20
    assert ended.counts.canceled > 0
    assert len(results) == 20
    sent = len(upstream_calls(openrouter))
    assert ended.counts.succeeded == sent  # what was under way has ended
    assert ended.cancel_initiated_at is not None


async def test_a_batch_whose_time_is_over_expires(bench, openrouter):
    openrouter.script({"text": "Fine.", "times": 3}, {"fault": "stall_headers", "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(6)), hours=8 / 3600)  # from now, no engine yet
    async with bench.engine(HEADGATE_BATCH_CONCURRENCY=1):
        ended, results = await bench.ended(batch)
    assert sorted(set(outcomes(results))) == ["expired", "succeeded"]
    assert ended.counts.expired + ended.counts.succeeded == 6


async def test_a_paused_batch_sends_nothing_until_it_is_resumed(bench, openrouter):
    openrouter.script({"text": "Fine.", "first_delay": 0.3, "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(30)))
    async with bench.engine(HEADGATE_BATCH_CONCURRENCY=2):
        await bench.until(batch, lambda one: one.counts.succeeded >= 2)
        await bench.store.pause(batch.id, paused=True)
        # what was under way ends and is written, and nothing else is
        paused = await bench.until(
            batch, lambda one: one.paused and one.counts.succeeded == len(upstream_calls(openrouter))
        )
        sent = paused.counts.succeeded
        assert sent < 30
        openrouter.script({"text": "Fine.", "times": 0})
        other = await bench.make(ask("another"))
        await bench.ended(other)  # goes on beside it
        assert len(upstream_calls(openrouter)) == sent + 1
        await bench.store.pause(batch.id, paused=False)
        _, results = await bench.ended(batch)
    assert outcomes(results) == ["succeeded"] * 30
    assert len(upstream_calls(openrouter)) == 31


async def test_an_engine_that_ends_gives_its_batch_to_the_next_at_once(bench, openrouter):
    openrouter.script({"text": "Fine.", "first_delay": 0.3, "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(40)))
    async with bench.engine(HEADGATE_BATCH_CONCURRENCY=2, HEADGATE_BATCH_LEASE=600):
        await bench.until(batch, lambda one: one.counts.succeeded >= 1)
    left = await bench.store.get(batch.id)
    assert 0 < left.counts.succeeded < 40
    assert left.counts.succeeded == len(upstream_calls(openrouter))  # nothing that was answered is lost
    openrouter.script({"text": "Fine.", "times": 0})
    async with bench.engine(owner="two"):
        _, results = await bench.ended(batch)
    assert outcomes(results) == ["succeeded"] * 40
    assert len(upstream_calls(openrouter)) == 40


class Deaf(Heart):
    """A heart that does not beat, as in a process that is stopped; its holders hear of nothing."""

    @contextmanager
    def holding(self, lease, lost):
        yield


async def test_who_lost_a_chunk_records_nothing(bench, openrouter):
    openrouter.script({"text": "Too late.", "first_delay": 5, "times": 2}, {"text": "In time.", "times": 0})
    batch = await bench.make(ask("a"), ask("b"))
    async with bench.engine(owner="slow", heart=Deaf(bench.store, 0.3)) as slow:
        await asyncio.to_thread(openrouter.wait_for, 2, "chat")
        async with bench.engine(owner="quick"):
            ended, results = await bench.ended(batch)
            assert [b"In time." in result.body for result in results] == [True, True]
            while slow.busy:  # it gets its answers
                await asyncio.sleep(0.05)
    assert await bench.ended(batch) == (ended, results)
    assert len(upstream_calls(openrouter)) == 4


async def test_a_heart_hears_that_a_lease_is_lost(bench, openrouter):
    openrouter.script({"fault": "stall_headers", "times": 2}, {"text": "Mine.", "times": 0})
    batch = await bench.make(ask("a"), ask("b"))
    async with bench.engine(owner="robbed", heart=Heart(bench.store, 1.0)) as robbed:
        await asyncio.to_thread(openrouter.wait_for, 2, "chat")
        await bench.store.forget(lambda owner: owner == "robbed")
        async with bench.engine(owner="robber"):
            await bench.ended(batch)
        limit = time.monotonic() + 20
        while robbed.busy:
            assert time.monotonic() < limit
            await asyncio.sleep(0.05)


async def test_a_crash_between_the_last_result_and_the_end_asks_nothing_again(bench, openrouter):
    batch = await bench.make(ask("a"), ask("b"))
    lease = await bench.store.lease_chunk(batch.id, 0, "crashed", 60)
    done = [ItemResult(n, f"item-{n}", "succeeded", b"{}", attempts=1) for n in range(2)]
    await bench.store.record(lease, done)
    await bench.store.forget(lambda owner: owner == "crashed")
    async with bench.engine():
        _, results = await bench.ended(batch)
    assert [result.body for result in results] == [b"{}", b"{}"]
    assert upstream_calls(openrouter) == []
    with pytest.raises(LeaseLost):
        await bench.store.record(lease, done)


async def test_the_rate_of_requests_holds(bench, openrouter):
    openrouter.script({"text": "Fine.", "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(12)))
    async with bench.engine(HEADGATE_BATCH_RPM=240):
        begun = time.monotonic()
        await bench.ended(batch)
        took = time.monotonic() - begun
    assert took >= (12 - 4) / 4 - 0.3  # four a second, and a second's worth at once


class Clock:
    """The clock of a store's rates: it stands still, but goes on by every wait that the store asks for."""

    def __init__(self, monkeypatch, store):
        self.waited = 0.0
        self.granted = 0
        self._reserve = store.reserve
        monkeypatch.setattr(batch_rates, "now", lambda _: literal(1e9 + self.waited))
        monkeypatch.setattr(store, "reserve", self.reserve)

    async def reserve(self, name, amount, per_minute):
        wait = await self._reserve(name, amount, per_minute)
        self.granted += 0 if wait else amount
        self.waited += wait
        return min(wait, 0.001)


@pytest.mark.parametrize("output", [3, 500])
async def test_what_answers_take_beyond_the_estimate_slows_those_that_follow(
    bench, openrouter, monkeypatch, output
):
    openrouter.script({"text": "Fine.", "usage": {"input": 10, "output": output}, "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(20)))
    clock = Clock(monkeypatch, bench.store)
    async with bench.engine(HEADGATE_BATCH_TPM=60_000, HEADGATE_BATCH_CONCURRENCY=1) as engine:
        ended, _ = await bench.ended(batch)
        hands = engine._kit.at_once
    lot, bucket, a_second = 250, 1000, 1000
    assert ended.counts.succeeded == 20
    each = 10 + output
    assert ended.input_tokens + ended.output_tokens == 20 * each
    settled = 20 - 2 * hands  # of two chunks: of what is in hand with the last one nothing is known yet
    if output == 3:  # less than the estimate, and what was not taken is given back
        assert clock.granted <= 20 * 25 + lot
        assert clock.waited == 0
    else:
        assert settled * each <= clock.granted <= 20 * each + lot
        assert clock.waited >= (settled * each - bucket) / a_second
        assert clock.waited == pytest.approx((clock.granted - bucket) / a_second, abs=0.1)


async def test_who_waits_for_the_pace_is_let_go_when_its_batch_stops(bench):
    batch = await bench.make(*(ask(f"{n}") for n in range(3)))
    pace = Pace(bench.store, requests=1, tokens=0)
    await pace.take(0)  # the one of this minute
    asker = Asker(None, places=asyncio.Semaphore(3), pace=pace, persistence=EAGER, refusals=None)
    watch, notes = Watch(batch), []
    items = [Item(n, f"item-{n}", orjson.dumps(ask(f"{n}"))) for n in range(3)]
    asking = {asyncio.create_task(asker.ask(batch, item, watch, notes.append)) for item in items}
    await asyncio.sleep(0.2)
    watch.end("canceled")
    done, waiting = await asyncio.wait(asking, timeout=20)
    for task in waiting:
        task.cancel()
    assert waiting == set()
    assert [task.result() for task in done] == [None, None, None]


async def test_the_headers_of_the_batch_go_with_every_request(bench, openrouter):
    openrouter.script({"text": "Fine.", "times": 0})
    beta = {"anthropic-beta": "context-1m-2025-08-07"}
    batch = await bench.make(ask("a", model="anthropic/claude-sonnet-4"), headers=beta)
    async with bench.engine():
        await bench.ended(batch)
    (seen,) = openrouter.requests("messages", "chat")
    assert seen["headers"].get("anthropic-beta") == beta["anthropic-beta"]


async def test_a_batch_that_was_over_before_anybody_looked_asks_nothing(bench, openrouter):
    batch = await bench.make(ask("a"))
    await bench.store.cancel(batch.id)
    late = await bench.make(ask("b"), hours=-1)
    async with bench.engine():
        _, canceled = await bench.ended(batch)
        _, expired = await bench.ended(late)
    assert (outcomes(canceled), outcomes(expired)) == (["canceled"], ["expired"])
    assert upstream_calls(openrouter) == []
    assert datetime.now(UTC) - late.expires_at > timedelta(minutes=59)


async def test_an_upstream_that_refuses_most_is_left_alone_for_a_while(bench, openrouter):
    refused = {"status": 429, "message": "slow down", "headers": {"Retry-After": "1"}, "times": 20}
    openrouter.script(refused, {"text": "Fine.", "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(60)))
    async with bench.engine(HEADGATE_BATCH_CONCURRENCY=8):
        ended, results = await bench.ended(batch)
    assert ended.counts.succeeded == 60
    # the refused ones were answered at their second try, and no more were refused than at once by then
    assert sum(result.attempts - 1 for result in results) == 20


async def test_the_store_is_not_asked_for_requests_beyond_the_last(bench, openrouter, monkeypatch):
    openrouter.script({"text": "Fine.", "times": 0})
    batch = await bench.make(*(ask(f"{n}") for n in range(8)))
    lease = await bench.store.lease_chunk(batch.id, 1, "before", 60)
    await bench.store.record(lease, [ItemResult(7, "item-7", "succeeded", b"{}", attempts=1)])
    await bench.store.release(lease)
    pages = counted(monkeypatch, bench.store, "pending")
    async with bench.engine():
        _, results = await bench.ended(batch)
    assert outcomes(results) == ["succeeded"] * 8
    # of the second chunk an empty page says that there are no more
    assert sorted(given[0].chunk for given in pages) == [0, 1, 1]
