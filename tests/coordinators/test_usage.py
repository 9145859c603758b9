"""What is counted of requests and what limits do with it, in one process, without a store."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from coordinators import limits as limits_module
from coordinators.keys import ANYONE, AdminKeys, ClientKeys
from coordinators.limits import Limits
from coordinators.observing import Ending
from coordinators.prices import Price, Prices, _read
from coordinators.stored_keys import StoredKey, digest_of, new_key, tenant_of
from coordinators.usage import AMOUNTS, COUNTS, OTHERS, Usage
from express import Run
from tasks.backend import Target
from tasks.exchange import Exchange
from wire.errors import AuthenticationFailed, GatewayError, Overloaded, PermissionDenied, RateLimited

MODEL = "claude-sonnet-4-5"
TOKENS = {
    "input_tokens": 100, "output_tokens": 20,
    "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 50,
}  # fmt: skip


def exchange(
    tenant: str = "t", model: str = MODEL, *, backend: str | None = "anthropic", **more: Any
) -> Exchange:
    made = Exchange("req_1", more.pop("headers", {}), b"{}", {"model": model, **more}, tenant=tenant)
    if backend is not None:
        made.tried = [Target(model, model, "messages", "KEY", backend)]
    return made


def ending(given: Exchange, status: int = 200, **summary: Any) -> Ending:
    error = GatewayError("failed") if status >= 400 else None
    return Ending(
        given,
        "messages",
        status,
        5.0,
        summary,
        error,
        uuid4(),
        "run",
        crashed=False,
        run=Run("x", name="run"),
    )


def stored(key: str = "hg_x", name: str = "alice", **limits: Any) -> StoredKey:
    digest = digest_of(key)
    return StoredKey(tenant_of(digest), name, digest.hex(), time.time(), **limits)


def summed(usage: Usage) -> dict[tuple[str, ...], dict[str, float]]:
    """Give the rows without their days."""
    rows = usage.take().rows
    return {place[1:]: dict(zip((*COUNTS, *AMOUNTS), sums, strict=True)) for place, sums in rows.items()}


# -- prices
def test_what_the_upstream_says_stays_and_is_no_estimate() -> None:
    summary = {**TOKENS, "cost_usd": 0.5}
    Prices({("anthropic", MODEL): Price(1, 1, 1, 1)}).complete(summary, exchange())
    assert summary == {**TOKENS, "cost_usd": 0.5}


def test_a_cost_is_estimated_by_kind_of_token() -> None:
    summary: dict[str, Any] = {**TOKENS, "cost_usd": None}
    Prices({("anthropic", MODEL): Price(1.0, 10.0, 0.1, 2.0)}).complete(summary, exchange())
    assert summary["cost_usd"] == pytest.approx(100 * 1 + 20 * 10 + 1000 * 0.1 + 50 * 2)
    assert summary["cost_estimated"] is True


def test_a_long_prompt_has_its_own_price() -> None:
    prices = Prices({("anthropic", MODEL): Price(1, 1, 1, 1, 1000, Price(2, 2, 2, 2))})
    for size, cost in ((1000, 1000.0), (1001, 2002.0)):
        summary: dict[str, Any] = {"input_tokens": size, "output_tokens": 0}
        prices.complete(summary, exchange())
        assert summary["cost_usd"] == cost


@pytest.mark.parametrize(
    ("given", "summary"),
    [
        (exchange(model="nobody-knows-this"), TOKENS),
        (exchange(backend="openai_compatible"), TOKENS),
        (exchange(backend=None), TOKENS),
        (exchange(), {"input_tokens": None, "output_tokens": None}),
        (exchange(), {"input_tokens": "many", "output_tokens": -3}),
    ],
    ids=["unknown model", "unknown backend", "nobody asked", "no tokens", "nonsense"],
)
def test_no_cost_is_made_up(given: Exchange, summary: dict[str, Any]) -> None:
    told = dict(summary)
    Prices({("anthropic", MODEL): Price(1, 1, 1, 1)}).complete(told, given)
    assert told == summary


async def test_the_table_is_litellms() -> None:
    table = _read()
    sonnet = table["anthropic", MODEL]
    assert 0 < sonnet.read < sonnet.input < sonnet.write < sonnet.output < 1e-3
    assert ("databricks", "databricks-claude-sonnet-4-5") in table
    gemini = table["google", "gemini-2.5-pro"]
    assert gemini.bound == 200_000
    assert gemini.above is not None
    assert gemini.above.input > gemini.input
    prices = Prices()
    await prices.load()
    summary: dict[str, Any] = dict(TOKENS)
    prices.complete(summary, exchange())
    assert summary["cost_usd"] > 0


# -- counting
def test_requests_are_summed_up_by_where_they_belong() -> None:
    usage = Usage(Limits())
    session = {"x-claude-code-session-id": "s1"}
    for _ in range(2):
        usage.ended(ending(exchange(headers=session), cost_usd=0.25, **TOKENS))
    usage.ended(ending(exchange(headers=session), cost_usd=0.5, cost_estimated=True, **TOKENS))
    usage.ended(ending(exchange("u"), **TOKENS))
    rows = summed(usage)
    mine = rows["t", MODEL, "anthropic", "s1"]
    assert mine == {
        "requests": 3, "errors": 0, "cached": 0, "refused": 0, "unpriced": 0, "input_tokens": 300,
        "output_tokens": 60, "cache_read_tokens": 3000, "cache_creation_tokens": 150, "timed": 3,
        "cost": 1.0, "estimated": 0.5, "took_ms": 15.0,
    }  # fmt: skip
    assert rows["u", MODEL, "anthropic", ""]["unpriced"] == 1
    assert len(rows) == 2
    assert not usage.waiting


def test_failures_and_those_who_left_are_told_apart() -> None:
    usage = Usage(Limits())
    usage.ended(ending(exchange(), **TOKENS))
    usage.ended(ending(exchange(), 500))
    usage.ended(ending(exchange(), 499))
    row = summed(usage)["t", MODEL, "anthropic", ""]
    assert (row["requests"], row["errors"]) == (3, 1)
    assert (row["timed"], row["took_ms"]) == (1, 5.0)  # how long a failure took says nothing of the model


def test_an_answer_from_the_cache_used_nothing() -> None:
    usage = Usage(Limits())
    usage.ended(ending(exchange(backend=None), cost_usd=3.0, **TOKENS))
    row = summed(usage)["t", MODEL, "cache", ""]
    assert (row["requests"], row["cached"], row["input_tokens"], row["timed"]) == (1, 1, 0, 0)


def test_names_that_never_answered_are_not_taken_in() -> None:
    usage = Usage(Limits())
    for number in range(50):
        usage.ended(ending(exchange(model=f"guess-{number}"), 404))
    assert list(summed(usage)) == [("t", OTHERS, "anthropic", "")]


def test_what_nobody_was_let_in_for_is_not_counted() -> None:
    usage = Usage(Limits())
    usage.ended(ending(exchange(""), input_tokens=10))
    assert not usage.waiting


def test_what_waits_is_bounded() -> None:
    usage = Usage(Limits(), most=10)
    for number in range(100):
        usage.ended(ending(exchange(headers={"x-claude-code-session-id": f"s{number}"}), **TOKENS))
    rows = summed(usage)
    assert len(rows) == 11
    assert sum(row["requests"] for row in rows.values()) == 100


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0, "much", 10**30])
def test_a_nonsensical_cost_is_none(nonsense: Any) -> None:
    usage = Usage(Limits())
    usage.ended(ending(exchange(), cost_usd=nonsense, **TOKENS))
    row = summed(usage)["t", MODEL, "anthropic", ""]
    assert (row["cost"], row["unpriced"]) == (0, 1)


# -- limits
class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0 // 60 * 60

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    told = SimpleNamespace(time=clock.time, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(limits_module, "time", told)
    return clock


def limited(**given: Any) -> tuple[Limits, StoredKey]:
    key = stored(**given)
    limits = Limits()
    limits.know([key])
    return limits, key


def test_requests_a_minute(clock: Clock) -> None:
    limits, key = limited(rpm=3)
    for _ in range(3):
        limits.admit(exchange(), key.id)
    with pytest.raises(RateLimited, match="'alice' has reached its limit of 3 requests a minute") as refused:
        limits.admit(exchange(), key.id)
    wait = refused.value.retry_after
    assert wait is not None
    assert 0 < wait <= 60
    clock.now += wait
    with pytest.raises(RateLimited):
        limits.admit(
            exchange(), key.id
        )  # a third of them are of the last minute until 80 seconds have passed
    clock.now += 20.1
    limits.admit(exchange(), key.id)


def test_a_wait_that_was_told_is_long_enough(clock: Clock) -> None:
    limits, key = limited(rpm=10)
    clock.now += 30
    for _ in range(10):
        limits.admit(exchange(), key.id)
    with pytest.raises(RateLimited) as refused:
        limits.admit(exchange(), key.id)
    assert refused.value.retry_after is not None
    clock.now += refused.value.retry_after - 0.5
    with pytest.raises(RateLimited):
        limits.admit(exchange(), key.id)
    clock.now += 0.6
    limits.admit(exchange(), key.id)


def test_tokens_a_minute_are_counted_after_the_answer(clock: Clock) -> None:
    limits, key = limited(tpm=1000)
    limits.admit(exchange(), key.id)
    limits.admit(exchange(), key.id)
    limits.charge(key.id, 1500, 0.0)
    with pytest.raises(RateLimited, match="1,000 tokens a minute"):
        limits.admit(exchange(), key.id)
    clock.now += 120
    limits.admit(exchange(), key.id)


def test_dollars_a_day_and_a_month(clock: Clock) -> None:
    limits, key = limited(daily_usd=1.0, monthly_usd=1.5)
    limits.admit(exchange(), key.id)
    limits.charge(key.id, 10, 1.25)
    with pytest.raises(PermissionDenied, match=r"used up its \$1.00 a day \(\$1.25 spent\).*00:00 UTC"):
        limits.admit(exchange(), key.id)
    clock.now += 86400
    limits.admit(exchange(), key.id)
    limits.charge(key.id, 10, 0.5)
    with pytest.raises(PermissionDenied, match=r"\$1.50 a month"):
        limits.admit(exchange(), key.id)
    clock.now += 31 * 86400
    limits.admit(exchange(), key.id)


def test_what_others_counted_counts_and_what_was_sent_counts_once(clock: Clock) -> None:
    limits, key = limited(rpm=10)
    minute = limits.periods()[0]
    for _ in range(3):
        limits.admit(exchange(), key.id)
    sent = limits.take()
    assert sent[minute, key.id][0] == 3
    limits.admit(exchange(), key.id)
    limits.share({(minute, key.id): [8, 0, 0.0]})  # ours and five of another process
    limits.admit(exchange(), key.id)
    with pytest.raises(RateLimited):
        limits.admit(exchange(), key.id)


def test_what_was_sent_and_not_stored_still_counts(clock: Clock) -> None:
    limits, key = limited(rpm=2)
    limits.admit(exchange(), key.id)
    limits.admit(exchange(), key.id)
    limits.take()
    with pytest.raises(RateLimited):
        limits.admit(exchange(), key.id)


def test_minutes_that_are_over_do_not_wait_for_a_store_that_is_down(clock: Clock) -> None:
    limits, key = limited(rpm=10)
    for _ in range(50):
        limits.admit(exchange(), key.id)
        clock.now += 60
    waiting = limits.take()
    minutes = [period for period, _ in waiting if "T" in period]
    assert len(minutes) == 2  # the last, and the one before it
    assert sum(sums[0] for (period, _), sums in waiting.items() if len(period) == len("2026-01")) == 50


@pytest.mark.parametrize(
    "body",
    [
        {"model": "claude-opus-4-6"},
        {"models": ["claude-haiku-4-5", "gpt-4o"]},
        {"fallbacks": ["gpt-4o"]},
        {"fallbacks": [{"model": "gpt-4o"}]},
    ],
)
def test_a_key_asks_for_its_models_only(body: dict[str, Any]) -> None:
    limits, key = limited(models=("claude-haiku-*", "small"))
    limits.admit(exchange(model="claude-haiku-4-5"), key.id)
    given = exchange(model="small")
    assert given.body is not None
    given.body |= body
    with pytest.raises(PermissionDenied, match=r"may not ask for .*, only for claude-haiku-\*, small"):
        limits.admit(given, key.id)


def test_a_header_gets_a_key_no_other_models() -> None:
    limits, key = limited(models=("small",))
    given = exchange(model="small")
    given.headers = {"x-openrouter-models": '["small", "gpt-4o"]'}
    with pytest.raises(PermissionDenied, match="may not ask for 'gpt-4o'"):
        limits.admit(given, key.id)
    given.headers = {"x-openrouter-models": '["small"]'}
    limits.admit(given, key.id)


def test_a_refusal_is_counted_but_no_request() -> None:
    limits, key = limited(models=("small",))
    usage = Usage(limits)
    limits.refused = usage.refused
    with pytest.raises(PermissionDenied):
        limits.admit(exchange(), key.id)
    ((place, row),) = summed(usage).items()
    assert place[0] == key.id
    assert (row["refused"], row["requests"]) == (1, 0)


def test_a_batch_of_a_revoked_key_is_refused() -> None:
    limits, key = limited(revoked_at=1.0)
    with pytest.raises(PermissionDenied, match="'alice' was revoked"):
        limits.admit(exchange(), key.id)


# -- keys
def test_stored_keys_work_beside_the_settings_own() -> None:
    keys = ClientKeys(["own"])
    keys.know([stored("hg_x")])
    assert keys.check({"x-api-key": "own"}) == tenant_of(digest_of("own"))
    assert keys.check({"authorization": "Bearer hg_x"}) == tenant_of(digest_of("hg_x"))
    for headers in ({}, {"x-api-key": "hg_y"}):
        with pytest.raises(AuthenticationFailed):
            keys.check(headers)
    assert keys.refused == 2


@pytest.mark.parametrize("good", ["own", "hg_x"])
def test_either_header_lets_in_who_sends_a_valid_key(good: str) -> None:
    keys = ClientKeys(["own"])
    keys.know([stored("hg_x"), stored("hg_old", name="bob", revoked_at=5.0)])
    tenant = keys.check({"x-api-key": good})
    for other in ("sk-ant-of-another-service", "hg_old", " "):
        assert keys.check({"x-api-key": other, "authorization": f"Bearer {good}"}) == tenant
        assert keys.check({"x-api-key": good, "authorization": f"Bearer {other}"}) == tenant
    assert keys.refused == 0
    with pytest.raises(AuthenticationFailed, match="'bob', was revoked"):
        keys.check({"x-api-key": "hg_old", "authorization": "Bearer nothing"})
    with pytest.raises(AuthenticationFailed, match="not one of"):
        keys.check({"x-api-key": "nothing", "authorization": f"Basic {good}"})
    assert keys.refused == 2


def test_either_header_may_hold_an_admin_key() -> None:
    admins = AdminKeys(("one",), clients=lambda: True)
    admins.check({"x-api-key": "a client's", "authorization": "Bearer one"}, None)
    admins.check({"x-api-key": "one", "authorization": "Bearer a client's"}, None)
    for headers in ({}, {"x-headgate-admin-key": "two", "x-api-key": "one"}, {"authorization": "Basic one"}):
        with pytest.raises(AuthenticationFailed):
            admins.check(headers, None)


def test_anyone_may_ask_only_while_there_is_no_key_at_all() -> None:
    keys = ClientKeys([])
    assert keys.check({}) == ANYONE
    keys.know([stored(revoked_at=5.0)])
    with pytest.raises(AuthenticationFailed, match="no key"):
        keys.check({})
    with pytest.raises(AuthenticationFailed, match="'alice', was revoked"):
        keys.check({"x-api-key": "hg_x"})
    keys.know([])
    assert keys.check({}) == ANYONE


def test_a_public_gateway_that_has_lost_its_keys_lets_nobody_in() -> None:
    keys = ClientKeys([], always=True)
    keys.know([])
    with pytest.raises(AuthenticationFailed):
        keys.check({})


def test_a_key_ends_when_it_said() -> None:
    keys = ClientKeys([])
    keys.know([stored(expires_at=time.time() - 1)])
    with pytest.raises(AuthenticationFailed, match="has expired"):
        keys.check({"x-api-key": "hg_x"})


def test_keys_that_cannot_be_read_let_nobody_in() -> None:
    keys = ClientKeys(["own"])
    keys.closed = True
    assert keys.check({"x-api-key": "own"})
    with pytest.raises(Overloaded, match="cannot read its client keys"):
        keys.check({"x-api-key": "hg_x"})


def test_a_batch_of_a_key_that_is_gone_ends_with_it() -> None:
    keys, key = ClientKeys(["own"]), stored("hg_x")
    keys.know([key])
    for tenant in (key.id, tenant_of(digest_of("own")), ANYONE):
        keys.check_tenant(tenant)
    keys.know([])
    with pytest.raises(Overloaded):  # it may be new: the store is looked at before anybody is refused
        keys.check_tenant(key.id)
    keys.confirm()
    with pytest.raises(Overloaded):
        keys.check_tenant(key.id)
    keys.confirm()
    with pytest.raises(PermissionDenied, match="not one of this gateway's any more"):
        keys.check_tenant(key.id)


def test_a_batch_of_a_new_key_waits_until_the_key_is_read() -> None:
    keys, key = ClientKeys([]), stored("hg_x")
    with pytest.raises(Overloaded):
        keys.check_tenant(key.id)
    keys.know([])
    keys.know([key])
    keys.check_tenant(key.id)
    keys.know([])
    with pytest.raises(Overloaded):
        keys.check_tenant(key.id)


def test_a_worker_without_the_server_s_keys_refuses_no_batch() -> None:
    ClientKeys([], all_here=False).check_tenant("whoever")
    with pytest.raises(Overloaded):
        ClientKeys(["own"], all_here=False).check_tenant("whoever")


def test_new_keys_are_long_and_differ() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("hg_") and len(key) >= 3 + 43 for key in made)
