"""Sum up what is kept apart of usage, when it is old."""

from __future__ import annotations

from typing import Protocol

from express import step


class Foldable(Protocol):
    """Usage whose old sessions can be summed up by day."""

    async def fold(self) -> int:
        """Sum up; gives how many rows went."""
        ...


@step
async def fold_sessions(usage: Foldable) -> str:
    """Sum the sessions of old days up; give a line that says how many rows went."""
    gone = await usage.fold()
    return f"{gone} rows of sessions summed up by day"
