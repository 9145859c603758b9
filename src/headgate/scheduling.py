"""Batches by the clock, in the process that does the rest by the clock as well (`headgate.maintenance`).

That process has Prefect in it already, and asks its server every so often; the one that executes batches
loads Prefect with its first batch only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from headgate.settings import is_loopback

if TYPE_CHECKING:
    from coordinators.scheduled_batches import ScheduledBatches
    from headgate.settings import Settings
    from tasks.batch import BatchStore

_log = structlog.get_logger("headgate.batches")

LOOK = 10.0
"""Seconds between looks at the schedules."""


def tenant_of(settings: Settings) -> str:
    """Give the client whose scheduled batches are: the one that this machine's commands are.

    That is the tenant of HEADGATE_CLIENT_KEY, or of the first of HEADGATE_API_KEYS; anyone, if there is
    neither or the gateway asks for no key.
    """
    from coordinators import stored_keys  # noqa: PLC0415 - only where there are schedules
    from coordinators.keys import ANYONE  # noqa: PLC0415 - likewise
    from headgate.usage_parts import keys_marker  # noqa: PLC0415 - likewise

    key = settings.presented_key
    asked_for = settings.api_keys or not is_loopback(settings.host) or keys_marker(settings).exists()
    if key is None or not asked_for:
        return ANYONE
    return stored_keys.tenant_of(stored_keys.digest_of(key))


def scheduled_batches(settings: Settings) -> ScheduledBatches:
    """Give what runs the schedules; it loads Prefect."""
    from coordinators.prefect_thread import PrefectThread  # noqa: PLC0415 - seconds
    from coordinators.scheduled_batches import ScheduledBatches  # noqa: PLC0415 - likewise

    async def open_store() -> BatchStore:
        from coordinators.batch_store import SqlBatchStore  # noqa: PLC0415 - only where there are schedules
        from coordinators.database import database_of  # noqa: PLC0415 - likewise
        from coordinators.owners import this_owner  # noqa: PLC0415 - likewise

        store = SqlBatchStore(database_of(settings), chunk=settings.batch_chunk, maker=this_owner())
        await store.open()
        return store

    return ScheduledBatches(
        PrefectThread(), open_store, tenant=tenant_of(settings), hours=settings.batch_hours
    )


async def follow(batches: ScheduledBatches, ended: asyncio.Future[bytes]) -> None:
    """Run what is due, again and again until `ended`; whatever goes wrong is logged."""
    silent = True  # while it comes up, which the supervisor tells
    while not (await asyncio.wait({ended}, timeout=LOOK))[0]:
        try:
            await batches.run_due()
            silent = False
        except Exception as error:  # noqa: BLE001 - Prefect's client raises many; the next look may do
            if not silent:
                _log.warning("schedules not seen", error=type(error).__name__, because=str(error)[:200])
            silent = True
