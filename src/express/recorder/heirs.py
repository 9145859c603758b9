"""Journals of several recorders in one folder: whose instance lives, and what the dead left behind.

Beside the journal `<name>.open` is a file `<name>.lock`. The recorder, and whoever starts it again when it
dies, hold a shared lock on that as long as they live. Where none is held, nobody will come back for the
journal: an heir takes it under an exclusive lock, so that two that start together do not both.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from express.recorder.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Life:
    """Shows that the instance of a journal lives, from now until `end` or until this process ends."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._descriptor: int | None = None
        with suppress(OSError):  # then a recorder beside this one may take its runs for crashed, no more
            journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = _locked(journal, fcntl.LOCK_SH)

    def end(self, *, for_good: bool = False) -> None:
        """Let go of it; `for_good`: nobody starts again, so that an empty journal can be deleted."""
        if for_good and not Journal(self._journal).runs:
            _delete(self._journal)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def left_behind(own: Path) -> Iterator[Journal]:
    """Give the journals beside `own` whose instances are gone; each is deleted after its turn."""
    for path in sorted(own.parent.glob(f"*{own.suffix}")):
        if path == own:
            continue
        try:
            descriptor = _locked(path, fcntl.LOCK_EX)
        except OSError:
            continue
        try:
            if path.exists():  # or another heir was faster
                yield Journal(path)
                _delete(path)
        finally:
            os.close(descriptor)


def _lock_of(journal: Path) -> Path:
    return journal.with_suffix(".lock")


def _locked(journal: Path, how: int) -> int:
    """Lock without waiting; raises OSError, BlockingIOError if it is held otherwise."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(_lock_of(journal), flags, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _delete(journal: Path) -> None:
    with suppress(OSError):
        for path in (journal, _lock_of(journal)):
            path.unlink(missing_ok=True)
