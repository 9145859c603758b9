"""A folder in which every worker of an instance keeps its counts, and any of them reads all.

A worker replaces its own file; nobody else writes it. Whether its worker lives is told by a lock that the
kernel lets go of when the process ends, however it ends: process ids come again. What a dead worker counted
stays counted, folded into one file by the next worker that starts; how it was then is forgotten.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.counted import add
from coordinators.file_locks import is_held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GONE = "gone.json"
_FOLDED = "folded"
COUNTS = "counts"
NOW = "now"


class WorkerFiles:
    """One worker's place in the folder, from its start to `close`. Documents are JSON objects.

    A document holds `counts`, which only grow, and `now`, which tells how the worker is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = secrets.token_hex(4)
        with self._locked(fcntl.LOCK_EX):
            self._lock = os.open(folder / f"{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._fold()

    def write(self, document: dict[str, Any]) -> None:
        """Replace this worker's document; raises OSError."""
        path = self._folder / f"{self.name}.json"
        partial = path.with_suffix(".partial")
        partial.write_bytes(orjson.dumps(document))
        partial.replace(path)

    def read(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Give the counts of all that ever were, added up, and the `now` of each that lives, by its name."""
        total: dict[str, Any] = {}
        now: dict[str, dict[str, Any]] = {}
        with self._locked(fcntl.LOCK_SH):
            gone = self._load(_GONE)
            add(total, gone.get(COUNTS, {}))
            for name in self._names():
                if name in gone.get(_FOLDED, ()):
                    continue
                document = self._load(f"{name}.json")
                add(total, document.get(COUNTS, {}))
                if document and (name == self.name or not self._is_dead(name)):
                    now[name] = document.get(NOW, {})
        return total, now

    def close(self) -> None:
        """Leave: what was counted stays, how it was is forgotten."""
        os.close(self._lock)

    def _fold(self) -> None:
        """Add what dead workers counted to the file of those that are gone, and delete theirs.

        Killed in between, their names stand in that file, so that nothing is counted twice.
        """
        gone = self._load(_GONE)
        counts, folded = gone.get(COUNTS, {}), set(gone.get(_FOLDED, ()))
        dead = [name for name in self._names() if name != self.name and self._is_dead(name)]
        if not dead:
            return
        for name in dead:
            if name not in folded:
                add(counts, self._load(f"{name}.json").get(COUNTS, {}))
        partial = self._folder / "gone.partial"
        partial.write_bytes(orjson.dumps({COUNTS: counts, _FOLDED: dead}))
        partial.replace(self._folder / _GONE)
        for name in dead:
            for end in ("json", "partial", "lock"):
                (self._folder / f"{name}.{end}").unlink(missing_ok=True)

    def _names(self) -> list[str]:
        return [path.stem for path in self._folder.glob("*.lock") if path.stem != "folder"]

    def _is_dead(self, name: str) -> bool:
        return not is_held(self._folder / f"{name}.lock")

    def _load(self, name: str) -> dict[str, Any]:
        with suppress(OSError, orjson.JSONDecodeError):
            document = orjson.loads((self._folder / name).read_bytes())
            if isinstance(document, dict):
                return document
        return {}

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        handle = os.open(self._folder / "folder.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)
