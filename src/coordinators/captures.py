"""The folder of captured requests: one file each, sealed, bounded in bytes, expiring.

A file's first line says in JSON what it is: never what was said. The rest is the request and its answer,
encrypted (AES-256-GCM, the first line authenticated with it) or redacted. Files are written whole under
another name first, so that several processes share the folder without waiting for each other.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coordinators.capture_seal import Seal

FOLDER = "captures"

_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_END = ".capture"
_LONGEST_HEAD = 64 * 1024
_LOOK_SECONDS = 30.0
_LEFT_OVER_SECONDS = 3600.0


class CaptureUnreadable(Exception):
    """A capture is not there or cannot be opened; the message says what to do."""


class NotReplayable(Exception):
    """The request cannot be run again, or not as it is asked for; the message says why."""


@dataclass(frozen=True, slots=True)
class Content:
    """What was captured.

    `body` is the request's, None if it was left out; `answer` what was answered, None if that was not kept:
    a JSON object, or the text of a stream. `summary` is what the flow run shows, `steps` has the names and
    milliseconds of the run's steps in order.
    """

    headers: dict[str, str]
    body: bytes | None
    answer: bytes | None = None
    error: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    steps: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Captured:
    """One file: what its first line says (`facts`), where it is, and its size in bytes."""

    path: Path
    facts: dict[str, Any]
    size: int

    @property
    def id(self) -> str:
        """The request's id."""
        return str(self.facts["id"])

    @property
    def encrypted(self) -> bool:
        """Whether it can be opened with its key only; else it is redacted."""
        return self.facts.get("sealed") == "encrypted"


class CaptureFolder:
    """The captures below `path`: at most about `most` bytes, none older than `hours`.

    `write` keeps to the bound by looking at the folder now and then; a process may be a 64th of it too far.
    """

    def __init__(self, path: Path, *, most: int, hours: float) -> None:
        self.path = path
        self._most = most
        self._seconds = hours * 3600
        self._since_look = most
        self._looked = 0.0

    def write(self, facts: dict[str, Any], content: Content, seal: Seal) -> None:
        """Write one; `facts` has its `id`. Raises OSError."""
        name = str(facts["id"])
        if _ID.fullmatch(name) is None:
            raise OSError(0, "the request's id is no file's name")
        head, sealed = seal.close(facts, content)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.path / f"{secrets.token_hex(8)}.partial"
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(head + b"\n" + sealed)
            partial.rename(self.path / f"{time.time_ns() // 1_000_000:013d}-{name}{_END}")
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        self._since_look += len(head) + len(sealed)
        if self._since_look >= self._most // 64 or time.monotonic() - self._looked > _LOOK_SECONDS:
            self.delete_old()

    def delete_old(self) -> int:
        """Delete what has expired, and the oldest beyond the bound; give how many. Raises no OSError."""
        self._since_look, self._looked = 0, time.monotonic()
        kept, gone, bound = 0, 0, self._most - self._most // 8
        expired = (time.time() - self._seconds) * 1000
        for path in sorted(self._files(), reverse=True):
            with suppress(OSError, ValueError):
                kept += path.stat().st_size
                if kept > bound or int(path.name[:13]) < expired:
                    path.unlink()
                    gone += 1
        self._delete_left_over()
        return gone

    def delete(self) -> int:
        """Delete what may go (`tasks.clean_logs.Leavings`)."""
        return self.delete_old()

    def left(self) -> int:
        """Give how many there are."""
        return sum(1 for _ in self._files())

    def newest(self) -> Iterator[Captured]:
        """Give them, the newest first; what cannot be read is passed over."""
        for path in sorted(self._files(), reverse=True):
            with suppress(OSError, ValueError, LookupError):
                yield _look_at(path)

    def find(self, request_id: str) -> Captured:
        """Give the capture of a request; raises CaptureUnreadable."""
        if _ID.fullmatch(request_id) is not None:
            for path in sorted(self._files(), reverse=True):
                if path.name[14:] == f"{request_id}{_END}":
                    try:
                        return _look_at(path)
                    except (OSError, ValueError, LookupError):
                        raise CaptureUnreadable(f"{path} is damaged") from None
        raise CaptureUnreadable(
            f"no request {request_id[:80]!r} is kept in {self.path}: `headgate captures` lists those that "
            "are. HEADGATE_CAPTURE=errors has failing requests kept, HEADGATE_CAPTURE=all every one"
        )

    def open(self, captured: Captured, seal: Seal) -> Content:
        """Give what is in it; raises CaptureUnreadable."""
        try:
            head, _, sealed = captured.path.read_bytes().partition(b"\n")
        except OSError as error:
            raise CaptureUnreadable(f"{captured.path} cannot be read ({error.strerror})") from None
        return seal.open(head, sealed)

    def _files(self) -> Iterator[Path]:
        with suppress(OSError):
            for path in self.path.iterdir():
                if path.name.endswith(_END) and not path.is_symlink():
                    yield path

    def _delete_left_over(self) -> None:
        """Delete what a killed process left half written."""
        with suppress(OSError):
            for path in self.path.glob("*.partial"):
                if time.time() - path.stat().st_mtime > _LEFT_OVER_SECONDS:
                    path.unlink(missing_ok=True)


def _look_at(path: Path) -> Captured:
    with path.open("rb") as file:
        head = file.readline(_LONGEST_HEAD)
        size = os.fstat(file.fileno()).st_size
    facts = orjson.loads(head)
    str(facts["id"])
    return Captured(path, facts, size)
