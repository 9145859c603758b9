"""Addresses of flow runs in the Prefect UI."""

from __future__ import annotations

from urllib.parse import quote


def run_link(ui_url: str, name: str, flow_run_id: str | None = None) -> str:
    """Give the page of a flow run, or, without its id, of the one run that a search for its name finds.

    A request's run is made by the recorder, later: its id is the Prefect server's, its name is ours.
    """
    if flow_run_id is not None:
        return f"{ui_url}/runs/flow-run/{flow_run_id}"
    return f"{ui_url}/runs?flow-run-search={quote(name)}"
