"""The real web process without the others: a fifth of what a whole gateway takes to start.

Nothing counts tokens, executes batches or cleans up, and no supervisor starts it again.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

import httpx

from headgate.instance import Instance
from tests.fakes.gateway import GatewayProcess


class WebProcess(GatewayProcess):
    """One `headgate.web`, its data below `folder` or in one of its own; `settings` are its environment."""

    def __init__(self, folder: Path | None = None, *, traced: bool = False, **settings: str) -> None:
        super().__init__(traced=traced, **settings)
        backend = settings.get("PROXY_BACKEND", "OPENROUTER")
        own = self.folder.name
        instance = Instance("test", own, backend, "a test says so", runs="off",
                            prefect_ui_url="http://127.0.0.1:4200")  # fmt: skip
        given = {
            "OPENROUTER_API_KEY": "sk-or-v1-ours",
            "OPENROUTER_BASE_URL": "http://127.0.0.1:9/api/v1",
            "PREFECT_HOME": own,
        }
        if folder is not None:
            settings = {"HEADGATE_DATA_DIR": str(folder / "data"), **settings}
        self.environment = {**given, **self.environment, **instance.to_environment(), **settings}
        self.database = f"sqlite:///{Path(self.environment['HEADGATE_DATA_DIR']) / 'headgate.db'}"

    def start(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            arguments = ["-m", "headgate.web", str(listening.fileno())]
            self.process = self._popen(arguments, pass_fds=[listening.fileno()], stdin=subprocess.PIPE)
        self._drainer.start()
        assert httpx.get(f"{self.url}/health", timeout=240).status_code == 200  # it waits for its turn
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        try:
            return super().stop(number)
        finally:
            assert self.process is not None
            assert self.process.stdin is not None
            self.process.stdin.close()

    def peak(self) -> int:
        """Give the most memory it has had, in bytes, since its start or `forget_peak`."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def forget_peak(self) -> int:
        """Begin to measure anew, and give the memory it has now."""
        assert self.process is not None
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.peak()
