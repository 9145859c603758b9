"""Names that clients make up, as labels: so many of them and no more, the same in every worker."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OTHER = "other"
_LONGEST = 120


class BoundedNames:
    """The first `limit` names that were worth a label; all later ones are `other`.

    The workers of an instance share the file at `path`, so that their sums have no more names than each of
    them. It is touched for a new name only, and never again once it is full. `given` are there from the
    start, and count.
    """

    def __init__(self, path: Path, limit: int, given: Iterable[str] = ()) -> None:
        self._path = path
        self._limit = limit
        self._known: set[str] = set()
        self._size = -1
        for name in given:
            self.admit(name)
        self.refresh()

    def known(self, name: str) -> str:
        """Give the label of a name without making it one: for what did not turn out to be real."""
        return name if name in self._known else OTHER

    def admit(self, name: str) -> str:
        """Give the label of a name: itself, if it is among the first, printable and short; else `other`."""
        if name in self._known:
            return name
        if len(self._known) >= self._limit or not 0 < len(name) <= _LONGEST or not name.isprintable():
            return OTHER
        try:
            return self._add(name)
        except (OSError, orjson.JSONEncodeError):
            return OTHER

    def _add(self, name: str) -> str:
        line = orjson.dumps(name) + b"\n"
        with self._path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # held for microseconds, and gone with the file
            file.seek(0)
            self._known.update(_read(file.read()))
            if name in self._known:
                return name
            if len(self._known) >= self._limit:
                return OTHER
            file.write(line)
        self._known.add(name)
        return name

    def refresh(self) -> None:
        """Learn what other workers have added."""
        if len(self._known) >= self._limit:
            return
        try:
            size = self._path.stat().st_size
            if size != self._size:
                self._known.update(_read(self._path.read_bytes()))
                self._size = size
        except OSError:
            return


def _read(text: bytes) -> Iterable[str]:
    for line in text.splitlines():
        try:
            name = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # written in part when its worker was killed
        if isinstance(name, str):
            yield name
