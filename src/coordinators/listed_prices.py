"""What a backend's models cost by its own list, which OpenRouter gives and LiteLLM's table does not have."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from coordinators.prices import Price
from wire.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tasks.backend import Reply

_log = structlog.get_logger("headgate.prices")

_FRESH_SECONDS = 3600.0
_FAILED_SECONDS = 60.0
_FETCH_SECONDS = 10.0


class ListedPrices:
    """The prices of the list that `ask` gives within so many seconds (`coordinators.prices.PriceSource`).

    Nobody is asked until a price is wanted, and nobody waits for the list: what is wanted first has none.
    """

    def __init__(self, ask: Callable[[float], Awaitable[Reply]]) -> None:
        self._ask = ask
        self._prices: dict[str, Price] = {}
        self._stale_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    def of(self, model: str) -> Price | None:
        """Give a model's price if it is known by now, and ask for the list if it is old."""
        if time.monotonic() >= self._stale_at and self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._refresh())
        return self._prices.get(model)

    async def _refresh(self) -> None:
        try:
            reply = await self._ask(_FETCH_SECONDS)
            self._prices = await asyncio.to_thread(_read, reply)  # some hundred kilobytes
            self._stale_at = time.monotonic() + _FRESH_SECONDS
        except (GatewayError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._stale_at = time.monotonic() + _FAILED_SECONDS
            _log.warning("the list of prices cannot be had", because=type(error).__name__)
        finally:
            self._asking = None

    async def close(self) -> None:
        """Ask no longer."""
        if (asking := self._asking) is not None:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking


def _read(reply: Reply) -> dict[str, Price]:
    if reply.status != 200:
        raise ValueError(f"status {reply.status}")
    prices = {}
    for entry in orjson.loads(reply.body)["data"]:
        pricing = entry.get("pricing") or {}
        given, made = _dollars(pricing.get("prompt")), _dollars(pricing.get("completion"))
        if given is None or made is None:
            continue
        # As in the table: what has no price of its own is input like any other.
        read, write = (_dollars(pricing.get(f"input_cache_{name}")) for name in ("read", "write"))
        prices[str(entry["id"])] = Price(
            given, made, given if read is None else read, given if write is None else write
        )
    return prices


def _dollars(text: Any) -> float | None:
    """Read dollars a token; of a router, which asks one model or another, it says -1."""
    try:
        told = float(text)
    except (TypeError, ValueError):
        return None
    return told if 0 <= told < 1 else None
