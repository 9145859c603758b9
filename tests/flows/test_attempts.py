"""Trying again: what the client waits is counted from the moment its request came."""

from __future__ import annotations

import time
from typing import Any

import pytest

from flows.attempts import Patience, attempt
from tasks.backend import Outgoing
from tasks.exchange import Exchange
from wire.answer import AnswerContext
from wire.errors import Overloaded
from wire.names import NO_NAMES

BRIEF = Patience(retries=2, base=0.0)


OUTGOING = Outgoing("chat", b"{}", {}, False, AnswerContext("msg_1", "big", "openai/gpt-5", 0, NO_NAMES))


class OneLane:
    """A backend with one lane, which nothing shuts."""

    def pick(self, _: str) -> OneLane:
        return self

    def failed(self, *_: Any) -> bool:
        return False


def asked(ago: float, waits: str | None) -> Exchange:
    headers = {} if waits is None else {"x-stainless-timeout": waits}
    return Exchange("req_1", headers, b"{}", started=time.time() - ago)


@pytest.mark.parametrize(
    ("ago", "waits", "attempts"),
    [
        (0.0, None, 3),
        (600.0, None, 3),
        (0.0, "600", 3),
        (0.0, "soon", 3),
        (599.0, "600", 3),
        (601.0, "600", 1),
        (3.0, "3", 1),
        (0.0, "0", 1),
    ],
)
async def test_nothing_is_tried_for_a_client_that_is_gone_by_then(
    ago: float, waits: str | None, attempts: int
) -> None:
    exchange = asked(ago, waits)

    async def call(*_: Any) -> None:
        raise Overloaded("busy", retryable=True)

    lanes: Any = OneLane()
    with pytest.raises(Overloaded):
        await attempt(call, OUTGOING, lanes, exchange, BRIEF)
    assert exchange.attempts == attempts


async def test_what_is_left_must_hold_the_pause() -> None:
    exchange = asked(2.5, "3")

    async def call(*_: Any) -> None:
        raise Overloaded("busy", retryable=True, retry_after=1.0)

    lanes: Any = OneLane()
    with pytest.raises(Overloaded):
        await attempt(call, OUTGOING, lanes, exchange, BRIEF)
    assert exchange.attempts == 1
