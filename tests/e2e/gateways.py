"""A real `headgate serve` between Claude Code and the fake OpenRouter."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

READY_SECONDS = 60


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Headgate:
    """One `headgate serve` process, forced to one of OpenRouter's wires."""

    def __init__(self, folder: Path, upstream: str, wire: str, *args: str, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.args = args
        self.log = folder / "headgate.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PROXY_BACKEND": "OPENROUTER",
            "OPENROUTER_API_KEY": "sk-or-e2e-not-a-key",
            "OPENROUTER_BASE_URL": upstream,
            "OPENROUTER_WIRE": wire,
            "HEADGATE_DATA_DIR": str(folder / "data"),
            "HEADGATE_LOG_DIR": str(folder / "logs"),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, again too: on the same port and the same data."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headgate", "serve", "--port", str(self.port), *self.args],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        limit = time.monotonic() + READY_SECONDS
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < limit, self.log.read_text()
            time.sleep(0.05)
        return self

    def __enter__(self) -> Self:
        return self.start()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
