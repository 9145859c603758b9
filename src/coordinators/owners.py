"""A process's name in leases, by which others see whether it is still there: host, boot, pid, start.

Names of hosts are not unique, and containers have numbers of their own for the same processes. So a process
is known to be gone only where its number means what ours does: on this boot of this machine, among the same
processes. Anybody else's lease runs out.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NUMBERS = Path("/proc/self/ns/pid")


@cache
def this_owner() -> str:
    """Name this process."""
    return f"{_machine()}/{os.getpid()}:{_started(os.getpid())}"


def is_dead(owner: str) -> bool:
    """Say whether a process is provably gone: it does not run, or another has its number."""
    machine, _, rest = owner.partition("/")
    pid, _, started = rest.partition(":")
    if not pid.isdigit() or not started or machine != _machine():
        return False
    return _started(int(pid)) != started


@cache
def _machine() -> str:
    try:
        boot = _BOOT.read_text().strip()
        numbers = _NUMBERS.readlink().name
    except OSError:  # no Linux: `_started` knows nothing either
        boot = numbers = ""
    return f"{socket.gethostname()}:{boot}:{numbers}"


def _started(pid: int) -> str:
    """Give when a process started, in ticks since the boot; empty if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
