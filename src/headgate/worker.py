"""`headgate worker`: executes chunks of batches from a Prefect work pool, on any machine.

It needs what the server has: the same PostgreSQL (DATABASE_URL), the same Prefect server (PREFECT_API_URL),
and the backends' settings.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from coordinators.database import database_of
from headgate import garbage
from headgate.batches import end_on_signals, opened_store
from headgate.choice import choose_backend
from headgate.instance import WORKER, Instance
from headgate.recording import watch
from headgate.settings import BackendName, SettingsError

if TYPE_CHECKING:
    from headgate.settings import Settings


def check_pool(settings: Settings, pool: str | None) -> str:
    """Give the work pool's name; raises SettingsError if there is none, or no store to share."""
    if pool is None:
        raise SettingsError("name a work pool: --pool, or HEADGATE_WORK_POOL")
    if database_of(settings).startswith("sqlite"):
        raise SettingsError(
            "HEADGATE_WORK_POOL needs a store that other machines reach: set DATABASE_URL to a PostgreSQL"
        )
    return pool


async def work(settings: Settings, pool: str | None, limit: int) -> None:
    """Work until told to stop; raises SettingsError."""
    pool = check_pool(settings, pool)
    if settings.prefect_api_url is None:
        raise SettingsError("set PREFECT_API_URL to the Prefect server that the batches run under")
    choice = choose_backend(settings)
    if choice.backend == BackendName.DEMO:
        raise SettingsError(
            "no backend is configured here: a worker needs the server's own (OPENROUTER_API_KEY, ...)"
        )
    os.environ.setdefault("PREFECT_API_URL", settings.prefect_api_url)  # it may come from a file
    ended = end_on_signals(with_parent=False)
    store = await opened_store(settings, ended)
    if store is None:
        return

    from coordinators.batch_worker import PoolWorker  # noqa: PLC0415 - seconds: after what can be refused
    from coordinators.prefect_thread import PrefectThread  # noqa: PLC0415 - likewise
    from headgate.batch_kit import BatchParts  # noqa: PLC0415 - likewise

    runtime = await asyncio.to_thread(tempfile.mkdtemp, prefix="headgate-worker-")
    instance = Instance(WORKER, runtime, choice.backend, choice.why, runs="off")
    parts, thread = BatchParts(settings, instance, store), PrefectThread()
    garbage.settle()
    watch(asyncio.get_running_loop(), parts.errors)
    try:
        await parts.start()
        await PoolWorker(parts.kit, thread, pool, limit=limit).work(ended)
    finally:
        await parts.close()
        await thread.close()
        await store.close()
        await asyncio.to_thread(shutil.rmtree, runtime, ignore_errors=True)
