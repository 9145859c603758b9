"""Commands at a terminal of their own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def at_terminal(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """Run `headgate` with a terminal as its standard error; give it, and what reads the screen."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "headgate", *words], stdout=subprocess.PIPE, stderr=theirs,
        cwd=folder,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "140"},
    ) as process:  # fmt: skip
        os.close(theirs)
        with closing(os.fdopen(ours, "rb", buffering=0)) as screen:
            try:
                yield process, screen
            finally:
                process.kill()


def read_until(screen: Any, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += screen.read(4096)
    return seen


def read_rest(screen: Any) -> bytes:
    rest = b""
    try:
        while more := screen.read(4096):
            rest += more
    except OSError:  # what a terminal says that nobody holds any more
        pass
    return rest
