"""What the flows need to know of the answer cache: its part in one request, and what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tasks.backend import Route
    from tasks.exchange import Streaming, Whole
    from wire.messages import Json
    from wire.timeline import Entry


class CacheUse(Protocol):
    """The cache as one request uses it. Nothing here raises because the store failed."""

    outcome: Literal["hit", "miss", "bypass"]

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of the cache."""
        ...

    @property
    def tags(self) -> list[str]:
        """What the run is tagged with."""
        ...

    @property
    def paced(self) -> bool:
        """Whether a stored stream is replayed in its own time."""
        ...

    async def find(self, body: Json, route: Route) -> Entry | None:
        """Give the stored answer, if there is one that the request takes; NotFound if it takes no other."""
        ...

    async def whole(self, ask: Callable[[], Awaitable[Whole]]) -> Whole:
        """Give what `ask` does, or what an identical request in flight is given, if that was asked for."""
        ...

    async def stream(self, ask: Callable[[], Awaitable[Streaming]]) -> Streaming:
        """Give what `ask` does, likewise; several requests may then read one stream."""
        ...

    def others_pay(self) -> bool:
        """Leave a shared stream that did not end well here; give whether others go on reading it."""
        ...

    def keep_whole(self, answer: Whole) -> None:
        """Store a finished answer, in the background, if it is one to keep."""
        ...

    def keep_stream(self, answer: Streaming) -> Streaming:
        """Give the same stream, which stores itself once it has ended well."""
        ...


class Cleanable(Protocol):
    """A store of answers, as far as cleaning it goes; whatever fails raises."""

    async def open(self) -> None:
        """Make ready."""
        ...

    async def clean(self) -> int:
        """Delete what has expired and what is too much; give how many entries."""
        ...

    async def totals(self) -> Any:
        """Say what is left."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...
