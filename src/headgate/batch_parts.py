"""Assembly: what a web process answers batches with. Nothing of it is loaded before the first question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from coordinators.batch_progress import BatchProgress, StoredBatches
from coordinators.batches import Batches
from coordinators.owners import this_owner
from headgate.settings import SettingsError, is_loopback
from headgate.usage_parts import store_is_there
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from coordinators.batch_store import SqlBatchStore
    from coordinators.keys import ClientKeys
    from headgate.instance import Instance
    from headgate.settings import Settings


class BatchStoreOpener:
    """The store of batches, opened when it is first asked for, and again as long as that fails.

    A gateway whose database is down serves messages all the same.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening: asyncio.Task[SqlBatchStore] | None = None

    @property
    def opened(self) -> SqlBatchStore | None:
        """The store, if it is open now."""
        opening = self._opening
        if opening is None or not opening.done() or self._failed(opening):
            return None
        return opening.result()

    @property
    def failed(self) -> str | None:
        """What is wrong, if it could not be opened the last time."""
        opening = self._opening
        if opening is None or not opening.done() or not self._failed(opening):
            return None
        return "the store of batches could not be opened; see the log"

    def there(self) -> bool:
        """Say whether there is a store to look into: a database that is named, or one of our own."""
        return store_is_there(self._settings)

    async def progress(self) -> BatchProgress:
        """Say how far the batches are (`coordinators.batch_progress.Batches`); raises StoreFailed."""
        return await StoredBatches(await self.store()).progress() if self.there() else BatchProgress()

    async def store(self) -> SqlBatchStore:
        """Give the open store; raises StoreFailed. All who ask meanwhile wait for the same attempt."""
        if self._opening is None or (self._opening.done() and self._failed(self._opening)):
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Close the store, if it was opened."""
        opening, self._opening = self._opening, None
        if opening is None:
            return
        await asyncio.wait([opening])
        if not self._failed(opening):
            await opening.result().close()

    async def _open(self) -> SqlBatchStore:
        # The database's library takes a third of a second, which a gateway without batches need not spend.
        from coordinators.batch_store import SqlBatchStore  # noqa: PLC0415
        from coordinators.database import database_of  # noqa: PLC0415

        try:
            settings = self._settings
            store = SqlBatchStore(database_of(settings), chunk=settings.batch_chunk, maker=this_owner())
        except SettingsError as error:
            raise StoreFailed(str(error)) from None
        await store.open()
        return store

    @staticmethod
    def _failed(opening: asyncio.Task[SqlBatchStore]) -> bool:
        return opening.cancelled() or opening.exception() is not None


def assemble_batches(
    settings: Settings, instance: Instance, opener: BatchStoreOpener, keys: ClientKeys
) -> Batches:
    """Give what answers the Message Batches API."""
    # Behind a public address where Prefect is belongs to its owner, as on the front page.
    ui = instance.prefect_ui_url if is_loopback(settings.host) else None

    def run_url(flow_run: str) -> str | None:
        return f"{ui}/runs/flow-run/{flow_run}" if ui else None

    return Batches(opener.store, keys, hours=settings.batch_hours, run_url=run_url)
