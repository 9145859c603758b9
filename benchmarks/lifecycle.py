"""A target's life around the load: its start, its idle streams, its memory, the runs it has recorded."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from benchmarks.bodies import IDLE, request_body
from benchmarks.check import ask, check_column, wait_until_answers

if TYPE_CHECKING:
    from benchmarks.children import Child, Nursery
    from benchmarks.targets import Column, Target

_PREFECT_SECONDS = 90.0
_IDLE_SECONDS = 30.0
_REST_SECONDS = 30.0
_AT_REST = 0.05  # seconds of CPU in a second
_MANY = 1000
_FEW = 200  # of a peer that needs seconds for a stream


def first_answers(target: Target, child: Child, port: int) -> dict[str, float]:
    """Wait for a target's first answers; give the seconds from its start to each."""
    column = target.columns[0]
    health = wait_until_answers(port, target.health, target.start_seconds, alive=child.alive)
    body = request_body("small", column.model, stream=False)
    message = wait_until_answers(port, column.path, target.start_seconds, body, alive=child.alive)
    return {"health_s": health - child.started, "message_s": message - child.started}


def rest(child: Child) -> float:
    """Wait until a target has done what it does after its start; give the seconds it took, at most 30."""
    began = time.perf_counter()
    used = child.usage().cpu
    while (waited := time.perf_counter() - began) < _REST_SECONDS:
        time.sleep(1.0)
        before, used = used, child.usage().cpu
        if used - before < _AT_REST:
            break
    return waited


def check_columns(target: Target, port: int) -> list[str]:
    """Ask every kind of question once; give what is wrong."""
    wrong: list[str] = []
    for column in target.columns:
        found = (check_column(port, column, size) for size in ("small", "large"))
        wrong += [f"{column.name}: {complaint}" for complaint in found if complaint]
    return wrong


def wait_for_prefect(port: int) -> dict[str, Any]:
    """Wait until Headgate's own Prefect server answers; give what its health page says of it."""
    until = time.perf_counter() + _PREFECT_SECONDS
    detailed: dict[str, Any] = {}
    while time.perf_counter() < until:
        status, body = ask(port, "GET", "/health/detailed")
        detailed = json.loads(body) if status == 200 else {}
        if (api := prefect_api(detailed)) and _api_answers(api):
            return detailed
        time.sleep(0.25)
    raise TimeoutError(f"Prefect was not ready within {_PREFECT_SECONDS:.0f} s: {json.dumps(detailed)[:600]}")


def prefect_api(value: Any) -> str | None:
    """Find the Prefect API's address in what /health/detailed says."""
    match value:
        case str() if value.startswith("http://127.0.0.1") and value.rstrip("/").endswith("/api"):
            return value.rstrip("/")
        case dict():
            found = (prefect_api(item) for item in value.values())
            return next((one for one in found if one), None)
        case _:
            return None


def _api_answers(api: str) -> bool:
    port, path = _split(api)
    try:
        return ask(port, "GET", f"{path}/health", limit=3)[0] == 200
    except OSError:
        return False


def recorded_runs(detailed: dict[str, Any]) -> int | None:
    """Ask the Prefect API how many flow runs it holds."""
    api = prefect_api(detailed)
    if api is None:
        return None
    port, path = _split(api)
    try:
        status, body = ask(port, "POST", f"{path}/flow_runs/count", b"{}", limit=20)
    except OSError:
        return None
    return int(body) if status == 200 else None


def _split(url: str) -> tuple[int, str]:
    address, _, path = url.removeprefix("http://").partition("/")
    return int(address.partition(":")[2]), f"/{path}"


def idle_streams(nursery: Nursery, child: Child, column: Column, port: int, *, few: bool) -> dict[str, Any]:
    """Open many streams that say nothing more; give the web process's memory for each."""
    load = nursery.children["load"]
    wanted = _FEW if few else _MANY
    asked = {
        "do": "idle",
        "port": port,
        "path": column.path,
        "model": column.model + IDLE,
        "size": "small",
        "stream": True,
        "count": wanted,
        "seconds": _IDLE_SECONDS,
    }
    with nursery.only({"load", "upstream", child.name}):
        before = child.usage()
        opened = load.ask(asked, _IDLE_SECONDS + 30)
        time.sleep(1.0)
        after = child.usage()
        load.ask({"do": "close"}, 30)
        time.sleep(1.0)
        later = child.usage()
    count = max(1, opened.get("open", 0))
    return {
        "wanted": wanted,
        "open": opened.get("open", 0),
        "seconds": opened.get("seconds"),
        "web_kb_each": (after.web_rss - before.web_rss) / 1024 / count,
        "tree_kb_each": (after.rss - before.rss) / 1024 / count,
        "web_mb_before": before.web_rss / 2**20,
        "web_mb_open": after.web_rss / 2**20,
        "web_mb_closed": later.web_rss / 2**20,
    }


def memory(child: Child) -> dict[str, float]:
    used = child.usage()
    return {
        "web_mb": used.web_rss / 2**20,
        "tree_mb": used.rss / 2**20,
        "processes": used.processes,
        "cpu_s": used.cpu,
        "web_cpu_s": used.web_cpu,
    }
