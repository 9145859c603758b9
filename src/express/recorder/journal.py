"""Which runs the server shows as running, on disk: a recorder that died left them to its successor."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

COMPACT_BYTES = 1_000_000


class Opened(NamedTuple):
    """A run that was recorded as running: its sink and its flow run on the server."""

    sink: bytes
    flow_run_id: str


class Journal:
    """One line for each run recorded as running, one for each recorded as ended.

    What cannot be read or written is let go: the worst is a run that shows as running for ever.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: dict[bytes, Opened] = {}
        self._load()
        self._compact()

    def opened(self, run: bytes, sink: bytes, flow_run_id: str) -> None:
        self.runs[run] = Opened(sink, flow_run_id)
        self._append(f"+ {run.hex()} {sink.hex()} {flow_run_id}\n")

    def take_over(self, other: Journal) -> None:
        """Add what another one has, before that is deleted."""
        for run, opened in other.runs.items():
            self.opened(run, *opened)

    def ended(self, run: bytes) -> None:
        if self.runs.pop(run, None) is not None:
            self._append(f"- {run.hex()}\n")

    def _append(self, line: str) -> None:
        with suppress(OSError):
            with self.path.open("a") as file:
                file.write(line)
                size = file.tell()
            if size > COMPACT_BYTES:
                self._compact()

    def _load(self) -> None:
        with suppress(OSError, UnicodeDecodeError):
            for line in self.path.read_text().splitlines():
                with suppress(ValueError):  # a line cut short by a crash
                    self._apply(line.split())

    def _apply(self, words: list[str]) -> None:
        match words:
            case ["+", run, sink, flow_run_id]:
                self.runs[bytes.fromhex(run)] = Opened(bytes.fromhex(sink), flow_run_id)
            case ["-", run]:
                self.runs.pop(bytes.fromhex(run), None)
            case _:
                pass

    def _compact(self) -> None:
        lines = (f"+ {run.hex()} {o.sink.hex()} {o.flow_run_id}\n" for run, o in self.runs.items())
        fresh = self.path.with_suffix(".new")
        with suppress(OSError):
            fresh.write_text("".join(lines))
            fresh.replace(self.path)
