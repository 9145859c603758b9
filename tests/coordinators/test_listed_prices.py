"""Prices by a backend's own list: asked for when they are wanted, and nobody waits for them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from coordinators.listed_prices import ListedPrices
from coordinators.prices import Price, Prices
from tasks.backend import Reply, Target
from tasks.exchange import Exchange
from wire.errors import UpstreamTimeout

MODEL = "anthropic/claude-sonnet-4"
USED = {"input_tokens": 1000, "output_tokens": 10, "cache_read_input_tokens": 100, "cost_usd": None}
LISTED = [
    {"id": MODEL, "pricing": {"prompt": "0.001", "completion": "0.01", "input_cache_read": "0.0001"}},
    {"id": "openai/gpt-5", "pricing": {"prompt": "0", "completion": "0", "input_cache_write": "0.5"}},
    {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
    {"id": "odd", "pricing": {"prompt": "nan", "completion": None}},
    {"id": "silent"},
]


class Seller:
    """Gives a list, counts who asks, and answers when it is let."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, seconds: float) -> Reply:
        assert seconds > 0
        self.asked += 1
        await self.gate.wait()
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Reply(*reply)


def listing(told: Any = LISTED) -> tuple[Any, ...]:
    return 200, {}, orjson.dumps({"data": told})


def asked_of(model: str = MODEL, backend: str = "openrouter") -> Exchange:
    exchange = Exchange("req_1", {}, b"{}")
    exchange.tried = [Target(model, model, "chat", "KEY", backend)]
    return exchange


async def read(listed: ListedPrices) -> None:
    while listed._asking is not None:
        await asyncio.sleep(0.001)


async def test_what_the_upstream_does_not_tell_is_estimated_once_the_list_is_there() -> None:
    seller = Seller(listing())
    listed = ListedPrices(seller.ask)
    prices = Prices(lists={"openrouter": listed})
    first, second = dict(USED), dict(USED)
    prices.complete(first, asked_of())
    prices.complete(first, asked_of())
    assert first == USED
    await read(listed)
    prices.complete(second, asked_of())
    assert second["cost_usd"] == pytest.approx(1 + 0.1 + 0.01)
    assert second["cost_estimated"] is True
    assert seller.asked == 1
    assert listed.of("openai/gpt-5") == Price(0, 0, 0, 0.5)
    for unknown in ("openrouter/auto", "odd", "silent", "anthropic/claude-sonnet-4:nitro"):
        assert listed.of(unknown) is None
    await prices.close()


@pytest.mark.parametrize(
    ("summary", "exchange"),
    [
        (USED | {"cost_usd": 0.5}, asked_of()),
        (USED | {"cost_usd": 0}, asked_of()),
        ({"input_tokens": None, "output_tokens": 0}, asked_of()),
        (USED, asked_of(backend="anthropic")),
        (USED, Exchange("req_1", {}, b"{}")),
    ],
    ids=["told", "free", "nothing used", "another backend", "from the cache"],
)
async def test_nobody_asks_for_prices_that_are_not_wanted(summary: Any, exchange: Exchange) -> None:
    seller = Seller(listing())
    told = dict(summary)
    Prices(lists={"openrouter": ListedPrices(seller.ask)}).complete(told, exchange)
    await asyncio.sleep(0)
    assert (seller.asked, told) == (0, summary)


@pytest.mark.parametrize(
    "reply",
    [UpstreamTimeout("slow"), (503, {}, b"busy"), (200, {}, b"<html>"), (200, {}, b"[]"), listing([3])],
    ids=["slow", "busy", "html", "no object", "no models"],
)
async def test_a_list_that_cannot_be_had_is_asked_for_again_after_a_while(reply: Any) -> None:
    seller = Seller(reply, listing())
    listed = ListedPrices(seller.ask)
    assert listed.of(MODEL) is None
    await read(listed)
    assert listed.of(MODEL) is None
    assert seller.asked == 1
    listed._stale_at = 0.0
    listed.of(MODEL)
    await read(listed)
    assert listed.of(MODEL) is not None
    listed._stale_at = 0.0  # an old list serves while a new one is asked for
    assert listed.of(MODEL) is not None
    await listed.close()


async def test_at_the_end_nothing_is_asked_any_more() -> None:
    seller = Seller(listing())
    seller.gate.clear()
    listed = ListedPrices(seller.ask)
    listed.of(MODEL)
    await asyncio.sleep(0)
    assert seller.asked == 1
    await listed.close()
    assert listed._asking is None
