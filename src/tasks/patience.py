"""Asking the store of batches until it answers: a database that restarts is no reason to give up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_log = structlog.get_logger("headgate.batches")
_PAUSE = 1.0


async def patiently(ask: Callable[[], Awaitable[T]], *, longest: float = _PAUSE) -> T:
    """Ask the store until it answers, and give that; anything else that `ask` raises comes through.

    The pauses grow from a second to `longest` seconds. An outage is logged once, and its end. Whoever asks
    under a lease is cancelled when the lease is lost.
    """
    pause, silent = _PAUSE, False
    while True:
        try:
            answer = await ask()
        except StoreFailed as error:
            if not silent:
                _log.warning("the store does not answer", because=str(error)[:200])
            silent = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
        else:
            if silent:
                _log.info("the store answers again")
            return answer
