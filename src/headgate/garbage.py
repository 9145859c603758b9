"""What long-lived processes do about Python's collector of garbage."""

from __future__ import annotations

import gc

_THRESHOLD = 50_000


def settle() -> None:
    """Say that what is alive now stays alive; to be called once a process is set up.

    Collecting garbage need not look at it again. One large body is thousands of containers, none of them in a
    cycle: at the usual 700 they would set it off many times.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD, 20, 20)
