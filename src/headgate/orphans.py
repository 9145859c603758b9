"""Orphaned runs of batches, closed by the process that goes by the clock (`headgate.maintenance`).

That process has Prefect in it already; the one that executes batches loads it with its first batch only, and
after a crash there may be none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from headgate.usage_parts import store_is_there

if TYPE_CHECKING:
    from coordinators.batch_orphans import Orphans
    from coordinators.batch_store import SqlBatchStore
    from headgate.settings import Settings

_log = structlog.get_logger("headgate.batches")

SWEEP = 300.0
SOON = 15.0
"""Seconds until a Prefect server that did not answer is asked again."""


def orphans_of(settings: Settings) -> Orphans:
    """Give what closes the runs of this store's batches; it loads Prefect."""
    from coordinators.batch_orphans import Orphans  # noqa: PLC0415 - seconds

    def store_of() -> SqlBatchStore | None:
        if not store_is_there(settings):
            return None
        from coordinators.batch_store import SqlBatchStore  # noqa: PLC0415 - only if runs are open
        from coordinators.database import database_of  # noqa: PLC0415 - likewise

        return SqlBatchStore(database_of(settings))

    return Orphans(store_of)


async def follow_orphans(orphans: Orphans, ended: asyncio.Future[bytes]) -> None:
    """Close orphans as soon as Prefect answers, and every so often until `ended`; failures are logged."""
    silent = True  # while it comes up, which the supervisor tells
    while not ended.done():
        pause = SOON
        try:
            closed, again = await orphans.close()
            silent, pause = False, SWEEP if again is None else min(SWEEP, again + 1)
            if closed:
                _log.info("orphaned flow runs closed", count=closed)
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many; the next look may do
            if not silent:
                _log.warning("orphaned runs not seen", error=type(error).__name__, because=str(error)[:200])
            silent = True
        await asyncio.wait({ended}, timeout=pause)
