"""A program on a pseudo-terminal, and the screen that it draws."""

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
TOKEN = re.compile(
    r"\x1b\](?P<title>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b\[(?P<given>[0-9;?<>=]*)[ -/]*(?P<command>[@-~])"
    r"|\x1b[()#][0-9A-Za-z]|\x1b[@-Z\\-_a-z78=>]"
    r"|(?P<character>[^\x1b])",
    re.DOTALL,
)


class Screen:
    """The grid of characters a terminal shows; colours and modes are ignored.

    Claude Code redraws only the cells that change, so that its output makes sense on a grid alone.
    """

    def __init__(self) -> None:
        self.cells = [[" "] * COLUMNS for _ in range(ROWS)]
        self.row = self.column = 0

    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.cells)

    def feed(self, text: str) -> None:
        for token in TOKEN.finditer(text):
            if token["command"]:
                self._command(token["command"], token["given"])
            elif token["character"]:
                self._character(token["character"])

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character >= " ":
            if self.column >= COLUMNS:
                self.row, self.column = self.row + 1, 0
            self._scroll()
            self.cells[self.row][self.column] = character
            self.column += 1
        self._scroll()

    def _scroll(self) -> None:
        while self.row >= ROWS:
            self.cells = [*self.cells[1:], [" "] * COLUMNS]
            self.row -= 1

    def _command(self, command: str, given: str) -> None:
        numbers = [int(number) if number.isdecimal() else 0 for number in given.split(";")]
        count = numbers[0] or 1
        if command in "ABCDEFGH":
            self._move(command, count, numbers)
        elif command == "K":
            start, end = [(self.column, COLUMNS), (0, self.column + 1), (0, COLUMNS)][numbers[0]]
            self.cells[self.row][start:end] = [" "] * (end - start)
        elif command == "J":
            first = self.row + 1 if numbers[0] == 0 else 0
            for row in range(first, ROWS):
                self.cells[row] = [" "] * COLUMNS
            if numbers[0] == 0:
                self._command("K", "0")

    def _move(self, command: str, count: int, numbers: list[int]) -> None:
        if command in "EF":
            self.column = 0
        if command in "AF":
            self.row -= count
        elif command in "BE":
            self.row += count
        elif command in "CD":
            self.column += count if command == "C" else -count
        elif command == "G":
            self.column = count - 1
        elif command == "H":
            self.row, self.column = count - 1, (numbers[1] if len(numbers) > 1 else 1) - 1
        self.row = min(max(self.row, 0), ROWS - 1)
        self.column = min(max(self.column, 0), COLUMNS - 1)


class Terminal:
    """Start a program on a terminal of its own, type into it, and wait for what it shows."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.folder = folder
        self.environment = {**environment, "TERM": "xterm-256color"}
        self.screen = Screen()
        self.pid = self.fd = -1

    def __enter__(self) -> Self:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # the child
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.chdir(self.folder)
            os.execve(self.command[0], self.command, self.environment)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def read(self, seconds: float) -> None:
        """Take in what the program writes within that time."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                raw = os.read(self.fd, 65536)
            except OSError as gone:  # the program ended
                raise AssertionError(f"the program ended on:\n{self.screen.text()}") from gone
            self.screen.feed(raw.decode(errors="replace"))

    def wait_for(self, pattern: str, seconds: float = 30) -> str:
        """Wait until the screen matches, and give it."""
        limit = time.monotonic() + seconds
        while not re.search(pattern, self.screen.text()):
            assert time.monotonic() < limit, f"{pattern!r} was not shown, but:\n{self.screen.text()}"
            self.read(0.2)
        return self.screen.text()
