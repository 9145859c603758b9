"""Files of JSON lines that several processes append to, rotated by size and age, written by a thread.

A batch of whole lines goes out in one write to a file opened for appending, so that the lines of several
processes stay whole. Nothing here blocks who adds a line, and nothing raises: what cannot be written (a full
disk) or waits for too long (a slow one) is lost, counted, and told once until writing works again.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING

import structlog

from coordinators.file_locks import taking_turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = structlog.get_logger("headgate.logs")

FLUSH_SECONDS = 0.2
_MOST_WAITING = 8 * 1024 * 1024
_TIME_AT = slice(len('{"time":"'), len('{"time":"2026-01-01T00:00:00'))


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is set aside, and how many such files are kept: bytes, seconds, a number."""

    size: int = 32 * 1024 * 1024
    age: float = 24 * 3600.0
    keep: int = 5


class LineFile:
    """One file of lines; `add` is called on the event loop, or anywhere: without a loop it writes at once."""

    def __init__(self, path: Path, rotation: Rotation = Rotation()) -> None:
        self.path = path
        self.lost = 0
        """Lines that were not written."""
        self._rotation = rotation
        self._lines: list[bytes] = []
        self._size = 0
        self._due = False
        self._failing = False
        self._fd = -1
        self._since = 0.0
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        atexit.register(self.close)

    def add(self, line: bytes) -> None:
        """Have a line written, within a fifth of a second; it has no newline of its own."""
        if self._size + len(line) > _MOST_WAITING:
            self._lose(1, "too many lines wait to be written")
            return
        self._lines.append(line)
        with self._counting:
            self._size += len(line) + 1
        if self._due:
            return
        try:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._hand_over)
        except RuntimeError:
            self.flush()
        else:
            self._due = True

    def _hand_over(self) -> None:
        # taken here: a thread that took them could miss one that is just being added
        lines = self._take()
        _writer.do(lambda: self._put(lines))

    def flush(self) -> None:
        """Write what waits, here and now."""
        self._put(self._take())

    def _take(self) -> list[bytes]:
        self._due = False
        lines, self._lines = self._lines, []
        return lines

    def _put(self, lines: list[bytes]) -> None:
        if not lines:
            return
        data = b"\n".join([*lines, b""])
        try:
            with self._writing:
                self._write(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing here raises
            self._lose(len(lines), getattr(error, "strerror", None) or type(error).__name__)
        else:
            self._failing = False
        finally:
            with self._counting:
                self._size -= len(data)

    def close(self) -> None:
        """Write what waits and close the file; it opens again for another line."""
        self.flush()
        with self._writing:
            self._close()

    def _lose(self, lines: int, because: str) -> None:
        with self._counting:
            self.lost += lines
        if not self._failing:
            self._failing = True
            _log.error("log lines are lost", file=str(self.path), because=because)

    def _write(self, data: bytes) -> None:
        self._open()
        size = os.fstat(self._fd).st_size
        if size and (
            size + len(data) > self._rotation.size or time.time() - self._since > self._rotation.age
        ):
            self._rotate()
            self._open()
        written = os.write(self._fd, data)
        if written < len(data):  # the disk is full in the midst of a line: the next one begins anew
            with suppress(OSError):
                os.write(self._fd, b"\n")
            raise OSError(0, "no space for a whole line")

    def _open(self) -> None:
        """Open the file that has the name now: another process may have set ours aside."""
        if self._fd >= 0:
            try:
                at_name = self.path.stat()
                ours = os.fstat(self._fd)
            except FileNotFoundError:
                self._close()
            else:
                if (at_name.st_dev, at_name.st_ino) == (ours.st_dev, ours.st_ino):
                    return
                self._close()
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._since = _first_time(self._fd)

    def _rotate(self) -> None:
        """Set the file aside under the time's name, unless another process was faster."""
        with taking_turns(self.path), suppress(FileNotFoundError):
            if self.path.stat().st_ino == os.fstat(self._fd).st_ino:
                stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
                self.path.rename(self.path.with_name(f"{self.path.stem}.{stamp}{self.path.suffix}"))
                for old in set_aside(self.path)[self._rotation.keep :]:
                    old.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def set_aside(path: Path) -> list[Path]:
    """Give the files that were rotated away from this one, the newest first."""
    return sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"), reverse=True)


def _first_time(fd: int) -> float:
    """Give when the file's first line was written, as the line says; now, if it has none."""
    head = os.pread(fd, 64, 0).decode("ascii", "replace")
    try:
        return datetime.fromisoformat(head[_TIME_AT]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return time.time()


class _Writer:
    """The thread that writes every file of this process; started when it is first needed."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            self._thread.start()
        self._work.put(work)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
            except Exception:  # noqa: BLE001 - the thread writes for every file, and to the end
                _log.exception("log lines were not written")


_writer = _Writer()
