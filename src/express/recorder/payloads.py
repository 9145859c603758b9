"""What the recorder tells a Prefect server: JSON for its public HTTP endpoints.

A server gives its own times to a flow run's states, so a run's times on it are those of the
telling. Task runs come as events and keep the true times; the run's own stand in its artifact.
Every id is derived from the flow run's, so that telling twice changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID, uuid5

import orjson

Json: TypeAlias = dict[str, Any]

_STATES = {
    "running": ("RUNNING", "Running"),
    "completed": ("COMPLETED", "Completed"),
    "failed": ("FAILED", "Failed"),
    "cancelled": ("CANCELLED", "Cancelled"),
    "crashed": ("CRASHED", "Crashed"),
}
ARTIFACT_KEY = "request-summary"


def moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()


def seconds(document: Json) -> float:
    return float(document["end"] - document["start"]) / 1e9


def flow_run(document: Json, flow_id: str, key: str) -> Json:
    """Give the body that creates a running flow run, or finds the one created before."""
    return {
        "flow_id": flow_id,
        "name": document["name"],
        "tags": document["tags"],
        "parameters": document["parameters"],
        "idempotency_key": key,
        "state": {"type": "RUNNING", "name": "Running"},
    }


def final_state(document: Json) -> Json:
    """Give the body that ends a flow run; a bare or a crashed one has nothing but a state."""
    kind, name = _STATES[document["state"]]
    told = document.get("error")
    if told is None and "end" in document:
        told = f"took {seconds(document):.3f} s"
    if document["state"] == "crashed":
        told = "How this run ended is lost: the gateway or the recorder went away before it was told."
    return {"state": {"type": kind, "name": name, "message": told}}


def task_runs(document: Json, flow_run_id: str, flow_id: str) -> list[Json]:
    """Give one event for each step: its end, which carries all that there is to know of it."""
    space = UUID(flow_run_id)
    related = [
        _role("flow-run", flow_run_id, document["name"]),
        _role("flow", flow_id, document["pipeline"]),
    ]
    return [_task_run(step, space, related) for step in document["steps"]]


def _role(role: str, key: str, name: str) -> Json:
    return {
        "prefect.resource.id": f"prefect.{role}.{key}",
        "prefect.resource.role": role,
        "prefect.resource.name": name,
    }


def _task_run(step: list[Any], space: UUID, related: list[Json]) -> Json:
    name, start, end, state, error, inputs = step
    task, _, dynamic_key = name.rpartition("-")
    kind, state_name = _STATES[state]
    key = uuid5(space, name)
    return {
        "id": str(uuid5(key, state)),
        "occurred": moment(end),
        "event": f"prefect.task-run.{state_name}",
        "resource": {
            "prefect.resource.id": f"prefect.task-run.{key}",
            "prefect.resource.name": name,
            "prefect.run-count": "1",
            "prefect.state-message": error or "",
            "prefect.state-name": state_name,
            "prefect.state-timestamp": moment(end),
            "prefect.state-type": kind,
            "prefect.orchestration": "client",
        },
        "related": related,
        "payload": {
            "intended": {"from": "RUNNING", "to": kind},
            "initial_state": {"type": "RUNNING", "name": "Running", "message": None, "state_details": {}},
            "validated_state": {
                "type": kind,
                "name": state_name,
                "message": error,
                "state_details": {},
                "data": None,
            },
            "task_run": {
                "name": name,
                "task_key": task,
                "dynamic_key": dynamic_key,
                "task_inputs": {
                    source: [{"input_type": "task_run", "id": str(uuid5(space, source))}] for source in inputs
                },
                "tags": [],
                "run_count": 1,
                "flow_run_run_count": 1,
                "expected_start_time": moment(start),
                "start_time": moment(start),
                "end_time": moment(end),
                "total_run_time": (end - start) / 1e9,
            },
        },
    }


def artifact(document: Json, flow_run_id: str) -> Json:
    """Give the table that sums the run up, its true times included."""
    rows: Json = {
        **document["summary"],
        "started": moment(document["start"]),
        "ended": moment(document["end"]),
        "seconds": round(seconds(document), 6),
    }
    if document["error"]:
        rows["failure"] = document["error"]
    return {
        "key": document.get("artifact", ARTIFACT_KEY),
        "type": "table",
        "description": f"{document['name']}: {document['state']}",
        "data": orjson.dumps([{"what": what, "value": value} for what, value in rows.items()]).decode(),
        "flow_run_id": flow_run_id,
    }


def log_lines(document: Json, flow_run_id: str) -> list[Json]:
    """Give the run's log, its error last."""
    lines = [*document["logs"]]
    if document["error"]:
        lines.append((document["end"], 40, document["error"]))
    return [
        {
            "name": f"headgate.{document['pipeline']}",
            "level": level,
            "message": message,
            "timestamp": moment(at),
            "flow_run_id": flow_run_id,
        }
        for at, level, message in lines
    ]
