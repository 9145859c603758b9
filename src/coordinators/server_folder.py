"""One start of the server has one folder in the log folder: `server_<id>`.

`instance.json` says what was started. Who started it holds a lock on that file as long as it lives, so that
whoever cleans up knows a living server from one that was killed.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import socket
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.file_locks import is_held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACTS = "instance.json"
ERRORS = "errors.jsonl"
REQUESTS = "requests.jsonl"
_PREFIX = "server_"


class ServerFolder:
    """The folder of the server with this id, within `log_dir`; `id` has eight hexadecimal digits."""

    def __init__(self, log_dir: Path, id: str) -> None:  # noqa: A002 - what it is everywhere
        self.id = id
        self.path = log_dir / f"{_PREFIX}{id}"
        self.errors = self.path / ERRORS
        self.requests = self.path / REQUESTS
        self._lock = -1

    def create(self, *, version: str, settings: Mapping[str, Any], **facts: Any) -> None:
        """Make it and hold it as alive until this process ends; raises OSError. Settings come masked."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        told = {
            "id": self.id,
            "version": version,
            "start": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "cwd": str(Path.cwd()),
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            **facts,
            "settings": settings,
        }
        self._lock = os.open(self.path / FACTS, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._lock, orjson.dumps(told, option=orjson.OPT_INDENT_2, default=str))

    def release(self) -> None:
        """Let go of it: it may be cleaned away when its time comes."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def facts(self) -> dict[str, Any]:
        """What `instance.json` says; empty if it cannot be read."""
        try:
            facts = orjson.loads((self.path / FACTS).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return facts if isinstance(facts, dict) else {}

    @property
    def alive(self) -> bool:
        """Whether its server still runs. What cannot be told is taken for alive."""
        return is_held(self.path / FACTS)

    @property
    def changed(self) -> float:
        """When anything in it was last written, in seconds since the epoch."""
        times = [0.0]
        with suppress(OSError):
            for entry in (self.path, *self.path.iterdir()):
                with suppress(OSError):
                    times.append(entry.stat().st_mtime)
        return max(times)

    def delete(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def server_folders(log_dir: Path) -> list[ServerFolder]:
    """Give the folders of all servers that left one, the last written to first."""
    found = [ServerFolder(log_dir, path.name.removeprefix(_PREFIX)) for path in _paths(log_dir)]
    return sorted(found, key=lambda folder: folder.changed, reverse=True)


def _paths(log_dir: Path) -> Iterator[Path]:
    with suppress(OSError):
        for path in log_dir.glob(f"{_PREFIX}*"):
            if path.is_dir() and not path.is_symlink():
                yield path


class OldFolders:
    """The folders that may go: beyond the newest `keep`, or unchanged for `days`; never a living one's."""

    def __init__(self, log_dir: Path, *, keep: int, days: float) -> None:
        self._log_dir = log_dir
        self._keep = keep
        self._seconds = days * 86400

    def delete(self) -> int:
        """Delete them; give how many."""
        gone = 0
        for place, folder in enumerate(server_folders(self._log_dir)):
            old = time.time() - folder.changed > self._seconds
            if (old or place >= self._keep) and not folder.alive:
                folder.delete()
                gone += 1
        return gone

    def left(self) -> int:
        """Give how many folders there are."""
        return len(server_folders(self._log_dir))
