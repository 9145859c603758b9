"""Assembly: usage, prices, limits and the client keys of a process that answers requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from coordinators.keys import ClientKeys
from coordinators.limits import Limits
from coordinators.listed_prices import ListedPrices
from coordinators.prices import LISTED, PRICED, Prices
from coordinators.usage import Usage
from coordinators.usage_sharing import UsageSharing
from headgate.settings import SettingsError, is_loopback
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from coordinators.usage_store import LoopThread, UsageStore
    from headgate.settings import Settings
    from tasks.backend import Reply


class UsageParts:
    """What counts requests, knows their prices and their limits. `start` it before requests are let in.

    `backends` are those that requests go to, with what lists their models, if anything does. `apart`: this is
    no process of a server's, and may have been given none of its HEADGATE_API_KEYS.
    """

    def __init__(
        self,
        settings: Settings,
        backends: Mapping[str, Callable[[float], Awaitable[Reply]] | None],
        *,
        apart: bool = False,
    ) -> None:
        self._settings = settings
        self._priced = not PRICED.isdisjoint(backends)
        public = not is_loopback(settings.host)
        own = (key.get_secret_value() for key in settings.api_keys)
        # A public one always asks for a key, though the last one in the store may be deleted.
        self.keys = ClientKeys(own, always=public, all_here=not apart)
        self.limits = Limits()
        self.usage = Usage(self.limits, keep=settings.usage == "on")
        self.limits.refused = self.usage.refused
        self.prices = Prices(
            lists={
                name: ListedPrices(ask)
                for name, ask in backends.items()
                if ask is not None and name in LISTED
            }
        )
        self._sharing = UsageSharing(
            self._make,
            lambda: store_is_there(settings),
            self.usage,
            self.limits,
            self.keys,
            marker=keys_marker(settings),
            always_closed=public and not settings.api_keys,
        )

    @property
    def store_state(self) -> Literal["idle", "ok", "down"]:
        """How the store of usage and keys is."""
        return self._sharing.state

    async def start(self) -> None:
        """Read the prices, if one of the backends needs them, and the store's keys."""
        if self._priced:
            await self.prices.load()
        await self._sharing.start()

    async def close(self) -> None:
        """Store what is left."""
        await self.prices.close()
        await self._sharing.close()

    async def report(
        self, by: Sequence[str], since: str | None = None, until: str | None = None
    ) -> list[dict[str, Any]]:
        """Sum up what all processes stored by these names of `usage.PLACE`; raises StoreFailed."""
        return await self._sharing.report(by, since, until)

    async def _make(self) -> tuple[LoopThread, UsageStore]:
        return await asyncio.to_thread(_way, self._settings)


def _way(settings: Settings) -> tuple[LoopThread, UsageStore]:
    # The database's library takes a third of a second, which an idle gateway need not spend.
    from coordinators.usage_store import LoopThread  # noqa: PLC0415

    store = store_of(settings)
    return LoopThread("usage"), store


def store_of(settings: Settings) -> UsageStore:
    """Give the store, not yet open; raises StoreFailed if the settings name none."""
    from coordinators.database import database_of  # noqa: PLC0415 - see above
    from coordinators.usage_store import UsageStore  # noqa: PLC0415 - likewise

    try:
        return UsageStore(database_of(settings))
    except SettingsError as error:
        raise StoreFailed(str(error)) from None


def store_is_there(settings: Settings) -> bool:
    """Say whether there may be a store already. SQLite's file is made when it is first needed."""
    return settings.database_url is not None or (settings.data_dir / "headgate.db").exists()


def keys_marker(settings: Settings) -> Path:
    """Give the file that says that the store has client keys, which it does even while the store is down."""
    return settings.data_dir / "client_keys_exist"


async def check_binding(settings: Settings) -> None:
    """Refuse to listen beyond loopback without client keys, the store's included; raises SettingsError."""
    if settings.api_keys or is_loopback(settings.host):
        return
    if keys_marker(settings).exists() or (store_is_there(settings) and await _has_keys(settings)):
        return
    settings.check_binding(settings.host)


async def _has_keys(settings: Settings) -> bool:
    from coordinators.key_records import version  # noqa: PLC0415 - see above

    store = store_of(settings)
    try:
        return (await store.read(version))[0] > 0
    except StoreFailed:
        return False
    finally:
        await store.close()


class UsageFolding:
    """The usage whose old sessions are summed up, in a store that is opened for it (`tasks.fold_usage`)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def fold(self) -> int:
        """Sum up; gives how many rows went, 0 if there is no store. Raises StoreFailed."""
        if not store_is_there(self._settings):
            return 0
        from coordinators.usage_records import fold  # noqa: PLC0415 - see above

        store = store_of(self._settings)
        try:
            return await store.write(fold, self._settings.usage_session_days)
        finally:
            await store.close()
