"""The life of the parent, which holds the other end of standard input."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def follow_parent(ended: Callable[[], object]) -> None:
    """Have `ended` called on the running loop when standard input ends.

    A thread of its own reads, not one of the loop's: those are waited for when the loop ends, whatever for.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        with suppress(RuntimeError):  # the loop has ended before
            loop.call_soon_threadsafe(ended)

    threading.Thread(target=read, name="parent-watch", daemon=True).start()
