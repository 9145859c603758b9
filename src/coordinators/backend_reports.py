"""The backends' states in the Prefect UI.

A run each time one, or a model there, begins to cool down or is back. The runs' tables are versions of one
artifact, `backends`, whose latest says how all of them are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from express import Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coordinators.lanes import BackendLanes
    from express import Sink

ARTIFACT = "backends"


class BackendReports:
    """Records every change of the backends' states to `sink`."""

    def __init__(self, backends: Iterable[BackendLanes], sink: Sink) -> None:
        self._backends = list(backends)
        self._sink = sink
        for backend in self._backends:
            backend.on_change = self.record

    def record(self, changed: BackendLanes, model: str) -> None:
        """Record the states of all backends; the run failed if what changed is cooling down.

        `model` is the one whose state changed, or `NO_MODEL` if it is the backend's.
        """
        state = _state_of(changed, model)
        run = Run(
            ARTIFACT,
            name=f"{changed.name}-{model}-{state}" if model else f"{changed.name}-{state}",
            tags=[ARTIFACT, changed.name, state],
            sink=self._sink,
            keep=True,
            artifact=ARTIFACT,
        )
        summary: dict[str, Any] = {}
        for backend in self._backends:
            summary |= _rows(backend.state())
        run.finish("completed" if state == "closed" else "failed", summary=summary)


def _state_of(changed: BackendLanes, model: str) -> str:
    told = changed.state()
    if not model:
        return str(told["state"])
    return "open" if model in told["models_shut"] else "closed"


def _rows(state: dict[str, Any]) -> dict[str, str]:
    several = len(state["keys"]) > 1
    models = {f"{state['name']}, {model}": "open" for model in state["models_shut"]}
    return models | {
        f"{state['name']}, key {lane['key']}" if several else state["name"]: (
            lane["state"]
            if lane["last_error"] is None
            else f"{lane['state']}; last error {lane['last_error']} at {lane['last_error_at']}"
        )
        for lane in state["keys"]
    }
