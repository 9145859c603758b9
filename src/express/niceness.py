"""Giving way: what can wait gets the processor when nobody else wants it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES = 30
_PAUSE = 0.11  # Linux takes one such wish every tenth of a second, of all processes together


def give_way(niceness: int, autogroup: Path = _AUTOGROUP) -> None:
    """Raise this process's niceness, and that of its session where it leads one.

    With autogroups (`sched(7)`: on by default in Linux) the kernel shares the processors between sessions
    first: in a session of its own a nice process takes as much as any other. What cannot be had is left.
    """
    with suppress(OSError, AttributeError):
        os.nice(niceness)
        if os.getsid(0) == os.getpid():
            _tell(autogroup, niceness)


def _tell(autogroup: Path, niceness: int) -> None:
    for _ in range(_TRIES):
        try:
            autogroup.write_text(str(niceness))
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return
