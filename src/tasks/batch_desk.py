"""Where the flows of a batch find who does their work: deployed flows are given nothing but ids.

A desk has one batch, and is found by the batch's id. The registry belongs to the process and not to a
context: under Prefect's own engine the flows run in a thread of its own.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class BatchId(str):
    """A batch's id, which a flow run may show."""

    __slots__ = ()

    def __prefect_summary__(self) -> str:
        """Give it as it is."""
        return str(self)


class ChunkNumber(int):
    """A chunk's number, which a flow run may show."""

    def __prefect_summary__(self) -> int:
        """Give it as it is."""
        return int(self)


class BatchLeft(Exception):
    """The process executes the batch no longer; another one, or itself when it is back, goes on with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Desk(Protocol):
    """Executes one batch. Its methods may be awaited in any thread; all raise BatchLeft."""

    def at_once(self, *, away: bool) -> int:
        """Give how many chunks are to be under way together, here or (`away`) at the workers of the pool."""
        ...

    @property
    def pool(self) -> str | None:
        """The work pool whose workers answer the chunks; none if this process does."""
        ...

    async def open_chunks(self) -> Sequence[int]:
        """Give the chunks that are not done."""
        ...

    async def goes_on(self) -> bool:
        """Wait while the batch is paused; False once no more requests of it are to be answered."""
        ...

    async def answer_chunk(self, chunk: int) -> Mapping[str, int]:
        """Answer a chunk's requests and record the results; gives how many there are of each outcome."""
        ...

    async def watch_chunk(self, chunk: int, flow_run: str) -> str:
        """Wait for a chunk that a worker answers: `done`, `stopped`, or `again` if its run is lost."""
        ...

    async def close_batch(self) -> Mapping[str, int]:
        """Give what is left its outcome, if the batch was canceled or is over, and end it."""
        ...


_desks: dict[tuple[str, int | None], list[Desk]] = {}


@contextmanager
def at_desk(desk: Desk, batch_id: str, chunk: int | None = None) -> Iterator[None]:
    """Have the batch's flows, or those of one chunk of it, find this desk; the last one of several."""
    key = batch_id, chunk
    _desks.setdefault(key, []).append(desk)
    try:
        yield
    finally:
        _desks[key].remove(desk)
        if not _desks[key]:
            del _desks[key]


def desk_of(batch_id: str, chunk: int | None = None) -> Desk:
    """Give the desk of a chunk, if it has one of its own, or the batch's; raises BatchLeft if none is."""
    found = _desks.get((batch_id, chunk)) or _desks.get((batch_id, None))
    if not found:
        raise BatchLeft("no process of the gateway executes this batch under this run")
    return found[-1]
