"""The real gateway: `headgate serve` in a process of its own, pointed at the fake OpenRouter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

from tests.fakes import prefect_database, tracing

ROOT = Path(__file__).parents[2]
_ADDRESS = re.compile(r"^Headgate +(http://\S+)")
OURS = (
    "PROXY_", "OPENROUTER_", "HEADGATE_", "PREFECT_", "DATABRICKS_", "USE_LITELLM", "ANTHROPIC_",
    "BYPASS_LITELLM", "OPENAI_", "GEMINI_", "GOOGLE_", "COHERE_", "CO_API_KEY", "MISTRAL_", "AZURE_", "AWS_",
)  # fmt: skip


class GatewayProcess:
    """One `headgate serve`, started on a free port; `settings` are its environment.

    `traced` is whether it counts for the coverage report. `url` is its address. What it printed and logged is
    in `output` and `log_path`.
    """

    def __init__(self, *arguments: str, traced: bool = False, **settings: str) -> None:
        self.url = ""
        self.output: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.folder = tempfile.TemporaryDirectory(prefix="headgate-test-")
        self.log_path = Path(self.folder.name) / "stderr.log"
        self._arguments = arguments
        self._drainer = threading.Thread(target=self._drain, daemon=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        self.environment = {
            **inherited,
            "HEADGATE_DATA_DIR": f"{self.folder.name}/data",
            "HEADGATE_LOG_DIR": f"{self.folder.name}/logs",
            "PREFECT_SERVER_API_PORT": "14200",
            **(tracing.traced() if traced else {}),
            **settings,
        }

    def start(self) -> Self:
        if not {"--no-prefect", "PREFECT_API_URL"} & {*self._arguments, *self.environment}:
            prefect_database.place(Path(self.environment["HEADGATE_DATA_DIR"]))
        self.process = self._popen(["-m", "headgate", "serve", "--port", "0", *self._arguments])
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            if found := _ADDRESS.match(line):
                self.url = found[1]
                self._drainer.start()
                return self
        code = self.process.wait(10)
        raise AssertionError(f"headgate ended with {code} before it served:\n{self.log_path.read_text()}")

    def _popen(self, arguments: list[str], **more: Any) -> subprocess.Popen[str]:
        with self.log_path.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *arguments], cwd=self.folder.name, env=self.environment,
                stdout=subprocess.PIPE, stderr=log, text=True, **more,
            )  # fmt: skip

    def _drain(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout:
            self.output.extend(self.process.stdout)

    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; give its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(90)
        finally:
            self.process.kill()
            self._drainer.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.folder.cleanup()
