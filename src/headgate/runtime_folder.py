"""The temporary folder of one start of the server: its sockets, and the states of its processes.

It is deleted at the end. That of a server that was killed stays, until another one starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from coordinators.file_locks import is_held

_PREFIX = "headgate-"
_ALIVE = "alive"
_OLD_SECONDS = 3600.0
"""Processes may outlive a supervisor that was killed, for the streams that are open; none for so long."""


class RuntimeFolder:
    """Made when it is made, and held as alive until `delete` or the end of this process."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix=_PREFIX)
        # locked before it has the name that others look for
        fresh = Path(self.path) / f"{_ALIVE}.new"
        self._lock = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        fresh.rename(fresh.with_name(_ALIVE))

    def delete(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def delete_old_folders() -> None:
    """Delete the folders of this user's servers that were killed; what is in doubt stays."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if _is_ours(path) and _is_old(path) and not is_held(path / _ALIVE):
                shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    """Whether it is a folder that a supervisor of this user made; raises OSError."""
    return path.lstat().st_uid == os.getuid() and not path.is_symlink() and (path / _ALIVE).is_file()


def _is_old(path: Path) -> bool:
    """Whether nothing in it was made or replaced for long, as the states are every second; raises OSError."""
    return time.time() - path.stat().st_mtime > _OLD_SECONDS
