"""What an answer says of itself in headers, and its run in its summary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tasks.render import usage_summary

if TYPE_CHECKING:
    from coordinators.prices import Prices
    from tasks.exchange import Exchange
    from tasks.live_stream import Live


class Tally:
    """What a stream's run says of it at its end."""

    def __init__(self, exchange: Exchange, live: Live, prices: Prices) -> None:
        self.size = 0
        self._prices = prices
        self.exchange = exchange
        self.live = live
        self._first_byte = time.time()

    def summary(self) -> dict[str, Any]:
        translator = self.live.translator
        summary = {
            # Without anybody tried, somebody else pays: before, or with whom the stream is shared.
            **usage_summary(translator.usage or {}, translator.cost if self.exchange.tried else None),
            "stop_reason": translator.stop_reason,
            "generation_id": translator.generation_id,
            "ttft_ms": round((self._first_byte - self.exchange.started) * 1000, 1),
            "answer_bytes": self.size,
            **trials(self.exchange),
        }
        self._prices.complete(summary, self.exchange)
        return summary

    def whatever_is_known(self) -> dict[str, Any]:
        """Give the summary of a stream that did not end well, whose run must end however odd its answer is.

        Of a shared one that goes on for others it says nothing of usage: they are charged for all of it.
        """
        if self.exchange.cache is not None and self.exchange.cache.others_pay():
            return trials(self.exchange)
        try:
            return self.summary()
        except Exception:  # noqa: BLE001 - what the client is told already is the stream's own failure
            return trials(self.exchange)


def told_of(exchange: Exchange) -> dict[str, str]:
    """Say in headers who answered, which of the client's parameters had no effect, what the cache did."""
    headers = {"x-headgate-backend": exchange.tried[-1].backend} if exchange.tried else {}
    if left_out := [name for names in exchange.left_out.values() for name in names]:
        headers["x-headgate-left-out"] = ",".join(left_out)
    return headers | exchange.cache.headers if exchange.cache is not None else headers


def trials(exchange: Exchange) -> dict[str, Any]:
    """Say how many calls it took, and who came last when it was not the first choice."""
    told: dict[str, Any] = {"attempts": exchange.attempts}
    if exchange.cache is not None:
        told["cache"] = exchange.cache.outcome
    if len(exchange.tried) > 1:
        last = exchange.tried[-1]
        told |= {"fallback": f"{last.backend}: {last.model}"}
    return told
