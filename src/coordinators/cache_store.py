"""Where answers are stored: what a store is, whichever it is (`cache_disk`, `cache_redis`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


class StoreFailed(Exception):
    """The store cannot do it now; the message says why. No request fails by it.

    `reopen` says that it is to be opened anew before it is used again.
    """

    def __init__(self, message: str, *, reopen: bool = False) -> None:
        super().__init__(message)
        self.reopen = reopen


class Row(NamedTuple):
    """A stored answer as listings see it; times are seconds since the epoch."""

    key: bytes
    facts: bytes
    size: int
    expires: float
    used: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What a store holds."""

    entries: int
    size: int
    limit: int


class Store(Protocol):
    """Answers by key. Everything here may raise StoreFailed."""

    kind: str

    async def open(self) -> None:
        """Make ready; what was wrong with a store found there is set aside, not used."""
        ...

    async def get(self, key: bytes) -> bytes | None:
        """Give the value stored under `key`, if it has not expired; raises Junk for what nobody stored."""
        ...

    async def put(self, key: bytes, value: bytes, facts: bytes, seconds: float) -> int:
        """Store a value for so many seconds; what was not used for longest makes room. Give how many did."""
        ...

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete; give how many there were."""
        ...

    def rows(self) -> AsyncIterator[list[Row]]:
        """Give every entry that has not expired, some at a time, the oldest first where the store knows."""
        ...

    async def note(self, used: Mapping[bytes, float], counts: Mapping[str, float]) -> None:
        """Write down when entries were last used, and add to the counts."""
        ...

    async def counts(self) -> dict[str, float]:
        """Give all counts, of every process that shares the store."""
        ...

    async def clean(self) -> int:
        """Delete what has expired, and what is beyond the size limit; give how many entries."""
        ...

    async def totals(self) -> Totals:
        """Say what the store holds."""
        ...

    def describe(self) -> dict[str, Any]:
        """Say which store this is, without secrets."""
        ...

    async def close(self) -> None:
        """Let go of files or connections."""
        ...
