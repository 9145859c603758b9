"""A program on a pseudo-terminal, read as plain text."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

ROWS, COLUMNS = 50, 160
FORWARD = re.compile(r"\x1b\[\d*C")
ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b[@-Z\\-_=>]|\r")


class Terminal:
    """Start a program on a terminal of its own, type into it, and wait for what it shows."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.folder = folder
        self.environment = {**environment, "TERM": "xterm-256color"}
        self.shown = ""
        self.pid = self.fd = -1

    def __enter__(self) -> Self:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # the child
            os.chdir(self.folder)
            os.execve(self.command[0], self.command, self.environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def enter(self) -> None:
        os.write(self.fd, b"\r")

    def read(self, seconds: float) -> None:
        """Take in what the program writes within that time."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                raw = os.read(self.fd, 65536).decode(errors="replace")
            except OSError as gone:  # the program ended
                raise AssertionError(f"the program ended; it had shown: {self.shown[-2000:]}") from gone
            self.shown += ESCAPES.sub("", FORWARD.sub(" ", raw))

    def wait_for(self, pattern: str, seconds: float = 20) -> str:
        """Wait until what was shown since the last wait matches, and give it, with what comes right after."""
        limit = time.monotonic() + seconds
        while not re.search(pattern, self.shown):
            assert time.monotonic() < limit, f"{pattern!r} was not shown, but: {self.shown[-3000:]}"
            self.read(0.2)
        settled = time.monotonic() + 0.5
        while time.monotonic() < settled:
            self.read(0.1)
        shown, self.shown = self.shown, ""
        return shown
