"""Clean what piles up in folders: servers' logs, and captured requests."""

from __future__ import annotations

import asyncio
from typing import Protocol

from express import step


class Leavings(Protocol):
    """What servers left, some of which may go."""

    def delete(self) -> int:
        """Delete those that may go; give how many."""
        ...

    def left(self) -> int:
        """Give how many there are."""
        ...


@step
async def delete_old_folders(folders: Leavings) -> str:
    """Delete the log folders that may go, and say how many went and stayed."""
    return await _deleted(folders, "log folders")


@step
async def delete_old_captures(captures: Leavings) -> str:
    """Delete the captures that have expired or are too many, and say how many went and stayed."""
    return await _deleted(captures, "captured requests")


async def _deleted(these: Leavings, what: str) -> str:
    gone = await asyncio.to_thread(these.delete)
    return f"{gone} {what} deleted; {await asyncio.to_thread(these.left)} left"
