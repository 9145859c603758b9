"""What the supervisor tells the processes it starts, through one environment variable."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

VARIABLE = "HEADGATE_INSTANCE"
WORKER = "worker"
"""The id of what is no server's: `headgate worker`."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One start of the server: its id, its sockets, and where its other processes are."""

    id: str
    runtime_dir: str
    backend: str
    why: str
    demo_url: str | None = None
    prefect_api_url: str | None = None
    prefect_ui_url: str | None = None
    prefect_mark: tuple[str, str] | None = None
    runs: str = "express"

    @property
    def recorder_socket(self) -> str:
        """The Unix socket that the recorder listens on."""
        return str(Path(self.runtime_dir) / "recorder.sock")

    @property
    def counter_socket(self) -> str:
        """The Unix socket that the token counter listens on."""
        return str(Path(self.runtime_dir) / "counter.sock")

    @property
    def metrics_dir(self) -> Path:
        """Where the web processes share their counts."""
        return Path(self.runtime_dir) / "metrics"

    @property
    def state_file(self) -> Path:
        """Where the supervisor writes the state of every process."""
        return Path(self.runtime_dir) / "state.json"

    def to_environment(self) -> dict[str, str]:
        """Give the variable for a child's environment."""
        return {VARIABLE: orjson.dumps(asdict(self)).decode()}

    @classmethod
    def from_environment(cls) -> Instance:
        """Read it back; raises KeyError in a process that the supervisor did not start."""
        return cls(**orjson.loads(os.environ[VARIABLE]))

    def child_states(self) -> dict[str, Any]:
        """Read what the supervisor last wrote of its children; empty if nothing yet."""
        try:
            states = orjson.loads(self.state_file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return states if isinstance(states, dict) else {}
