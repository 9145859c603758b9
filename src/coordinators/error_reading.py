"""Reads what servers wrote down of their errors: files, so off the event loop; within bounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.error_log import moment
from coordinators.line_files import set_aside
from coordinators.server_folder import ServerFolder, server_folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Record = dict[str, Any]

MOST_BYTES = 64 * 1024 * 1024
"""How much of the newest records one look reads at most."""

_TOP = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which errors are looked for: all that is given must hold.

    `type`, `function`, `file` and `text` match in part, upper case or lower; the others whole. `since` and
    `until` are ISO-8601 times in UTC.
    """

    hash: str | None = None
    type: str | None = None
    function: str | None = None
    file: str | None = None
    model: str | None = None
    backend: str | None = None
    request: str | None = None
    server: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None

    def matches(self, record: Record) -> bool:
        """Say whether a record is one of those."""
        request = record.get("request") or {}
        time = str(record.get("time", ""))
        whole = (
            (self.hash, record.get("hash")),
            (self.server, record.get("server")),
            (self.model, request.get("model")),
            (self.backend, request.get("backend")),
            (self.request, request.get("id") or record.get("request_id")),
        )
        parts = (
            (self.type, record.get("type")),
            (self.function, record.get("function")),
            (self.file, record.get("file")),
            (self.text, record.get("message")),
        )
        return (
            all(wanted is None or wanted == value for wanted, value in whole)
            and all(wanted is None or wanted.lower() in str(value or "").lower() for wanted, value in parts)
            and (self.since is None or time >= self.since)
            and (self.until is None or time <= self.until)
        )


@dataclass(slots=True)
class Seen:
    """What became of one hash: how often, when first and last, and the last record of it."""

    count: int = 0
    first: str = ""
    last: str = ""
    record: Record = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Count a record; they come the newest first."""
        time = str(record.get("time", ""))
        self.count += 1
        if not self.record or time > self.last:
            self.record, self.last = record, time
        if not self.first or time < self.first:
            self.first = time

    def summary(self) -> Record:
        """Give it as one row, with the place in the code."""
        place = {name: self.record.get(name) for name in _PLACE}
        return {**place, "count": self.count, "first": self.first, "last": self.last}


_PLACE = ("hash", "type", "module", "function", "file", "line", "code", "message", "status")


@dataclass(slots=True)
class _Budget:
    """How many bytes may still be read, of all files together."""

    left: int


class ErrorReader:
    """Reads the errors of all servers that left a folder in `log_dir`, the newest first."""

    def __init__(self, log_dir: Path, most_bytes: int = MOST_BYTES) -> None:
        self.log_dir = log_dir
        self._most_bytes = most_bytes

    def records(self, wanted: Wanted | None = None) -> Iterator[Record]:
        """Give what is looked for, newest first; `server` names whose it is."""
        budget = _Budget(self._most_bytes)
        shut = sorted(((_written(one), one) for one in self._folders(wanted)), key=_when)
        begun: list[tuple[str, Record, Iterator[Record]]] = []
        while shut or begun:
            begun.sort(key=_when)
            # A file has nothing newer than when it was last written, so those of long ago stay unread.
            if shut and (not begun or shut[-1][0] >= begun[-1][0]):
                source = self._records_of(shut.pop()[1], wanted, budget)
            else:
                _, record, source = begun.pop()
                yield record
            if (following := next(source, None)) is not None:
                begun.append((str(following.get("time", "")), following, source))

    def _records_of(self, folder: ServerFolder, wanted: Wanted | None, budget: _Budget) -> Iterator[Record]:
        """Give one server's records, newest first."""
        sign = f'"hash":"{wanted.hash}"'.encode() if wanted is not None and wanted.hash else b""
        for path in (folder.errors, *set_aside(folder.errors)):
            lines = _last_lines(path, budget.left)
            budget.left -= sum(map(len, lines))
            for line in reversed(lines):
                if sign in line and (record := _read(line)) is not None:
                    record["server"] = folder.id
                    if wanted is None or wanted.matches(record):
                        yield record
            if budget.left <= 0:
                return

    def _folders(self, wanted: Wanted | None) -> list[ServerFolder]:
        if wanted is None or wanted.server is None:
            return server_folders(self.log_dir)
        return [folder for folder in server_folders(self.log_dir) if folder.id == wanted.server]

    def page(self, wanted: Wanted, offset: int, limit: int) -> Record:
        """Give so many records from `offset` on, newest first, and where the next begin."""
        found: list[Record] = []
        for place, record in enumerate(self.records(wanted)):
            if place >= offset + limit:
                return {"data": found, "next_offset": offset + limit}
            if place >= offset:
                found.append(record)
        return {"data": found, "next_offset": None}

    def tally(self, wanted: Wanted | None = None) -> dict[str, Seen]:
        """Count what was seen, by hash."""
        seen: dict[str, Seen] = {}
        for record in self.records(wanted):
            seen.setdefault(str(record["hash"]), Seen()).add(record)
        return seen

    def one(self, hash: str, occurrences: int) -> Record | None:  # noqa: A002 - what it is everywhere
        """Give a hash's place, its counts and its last occurrences; None if it was never seen."""
        seen = Seen()
        last: list[Record] = []
        for record in self.records(Wanted(hash=hash)):
            seen.add(record)
            last.append(record)
            if len(last) > 2 * occurrences:
                last = _newest(last, occurrences)
        return seen.summary() | {"occurrences": _newest(last, occurrences)} if seen.count else None

    def stats(self, wanted: Wanted) -> Record:
        """Sum up: errors by hash, type, model, backend, status, server and hour."""
        by: dict[str, Counter[str]] = {name: Counter() for name in _GROUPS}
        seen: dict[str, Seen] = {}
        for record in self.records(wanted):
            seen.setdefault(str(record["hash"]), Seen()).add(record)
            for name, value in _groups(record):
                by[name][value] += 1
        most = sorted(seen.values(), key=lambda one: one.count, reverse=True)
        return {
            "errors": sum(one.count for one in seen.values()),
            "places": len(seen),
            "crashes": by.pop("crashed")["True"],
            "most": [one.summary() for one in most[:_TOP]],
            "newest": [
                one.summary() for one in sorted(seen.values(), key=lambda one: one.first, reverse=True)[:_TOP]
            ],
            **{f"by_{name}": dict(counts.most_common(_TOP)) for name, counts in by.items()},
        }


_GROUPS = ("type", "status", "process", "server", "model", "backend", "hour", "crashed")


def _groups(record: Record) -> Iterable[tuple[str, str]]:
    request = record.get("request") or {}
    for name in _GROUPS:
        value = record.get(name, request.get(name))
        if name == "hour":
            value = str(record.get("time", ""))[:13]
        if value is not None:
            yield name, str(value)


def _newest(records: list[Record], count: int) -> list[Record]:
    return sorted(records, key=lambda one: str(one.get("time", "")), reverse=True)[:count]


def _when(one: tuple[str, Any] | tuple[str, Any, Any]) -> str:
    return one[0]


def _written(folder: ServerFolder) -> str:
    """Give when the folder's errors were last written to, as records tell times, and a second more."""
    try:
        return moment(folder.errors.stat().st_mtime + 1)
    except OSError:
        return ""


def _last_lines(path: Path, most: int) -> list[bytes]:
    """Give the file's lines, of its last `most` bytes; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            lines = file.read(most).splitlines()
    except OSError:
        return []
    return lines[1:] if size > most else lines


def _read(line: bytes) -> Record | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:  # torn by a full disk
        return None
    return record if isinstance(record, dict) and isinstance(record.get("hash"), str) else None
