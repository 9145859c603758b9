"""Waiting for what another process does: long, for a busy machine's sake, which costs nothing elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Ask again and again until it gives something that is true; give that."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"it did not come to pass in {seconds} s"
        time.sleep(0.05)
    return found
