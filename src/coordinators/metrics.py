"""The counts of this instance: taken request by request, shared between workers, added up when asked for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from coordinators.bounded_names import BoundedNames
from coordinators.counted import Counted
from coordinators.tool_counts import ToolCounts
from coordinators.worker_files import COUNTS, NOW, WorkerFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from coordinators.observing import Ending

_log = structlog.get_logger("headgate.metrics")
WRITE_SECONDS = 0.5
TOOL_NAMES = 200


class Metrics:
    """One worker's counts, and the way to those of all (`coordinators.observing.Observer`).

    `folder` is the instance's own. `models` is how many names of models there are before `other`, `given` the
    configured ones. `look` gives how this worker is now, `counters` the counts that others keep: both are
    asked twice a second, and what they give is JSON. What was counted is written twice a second as well: a
    worker that is killed takes with it what it counted since.
    """

    def __init__(
        self,
        folder: Path,
        *,
        models: int,
        given: Iterable[str] = (),
        look: Callable[[], Mapping[str, Any]],
        counters: Callable[[], Mapping[str, float]],
    ) -> None:
        self._files = WorkerFiles(folder)
        self._models = BoundedNames(folder / "models.txt", models, given)
        self._tool_names = BoundedNames(folder / "tools.txt", TOOL_NAMES)
        self._tools = ToolCounts(self._tool_names)
        self._counted = Counted(self._models, self._tools.note)
        self._look = look
        self._counters = counters
        self._written: object = None
        self._failed = False
        self._writing: asyncio.Task[None] | None = None

    def ended(self, ending: Ending) -> None:
        """Count a request."""
        self._counted.ended(ending)

    def start(self) -> None:
        """Begin to write, within an event loop."""
        self._writing = asyncio.create_task(self._keep_writing())

    def read(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Give what all workers counted, and how each is that lives. Reads files: not for the event loop.

        The counts are `cells` (by names that `key_of` reads), `tools` and `more`.
        """
        return self._files.read()

    def write(self) -> None:
        """Write what is new, so that others see it; what cannot be written is kept for the next time."""
        now, more = self._look(), {**self._counters(), **self._counted.more}
        state = (now, more)
        if not self._counted.changed and state == self._written:
            return
        cells = {_SEPARATOR.join(map(str, key)): cell for key, cell in self._counted.cells.items()}
        counts = {"cells": cells, "tools": self._tools.counts, "more": more}
        try:
            self._files.write({COUNTS: counts, NOW: now})
        except OSError as error:
            if not self._failed:
                _log.warning("metrics cannot be written", why=error.strerror)
            self._failed = True
            return
        self._failed = self._counted.changed = False
        self._written = state

    async def _keep_writing(self) -> None:
        while True:
            try:
                self.write()
                self._models.refresh()
                self._tool_names.refresh()
            except Exception:  # noqa: BLE001 - a mistake here must not end it for all that follows
                _log.exception("metrics were not written")
            await asyncio.sleep(WRITE_SECONDS)

    async def close(self) -> None:
        """Write for the last time, and leave."""
        if self._writing is not None:
            self._writing.cancel()
            with suppress(asyncio.CancelledError):
                await self._writing
        self.write()
        self._files.close()


_SEPARATOR = "\x1f"


def key_of(name: str) -> tuple[str, str, str, int, str]:
    """Give the key of a cell (`coordinators.counted.Key`) from its name in a document."""
    flow, backend, model, status, error = name.split(_SEPARATOR)
    return flow, backend, model, int(status), error
