"""What a flow of eight steps costs: as plain coroutines, under express, under Prefect's own engine.

`python -m benchmarks.express_cost [--json]`. The recorder and the Prefect server are the real
processes, on loopback. With `--json` the last line is the figures as one JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from coordinators.prefect_server import PrefectServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STEPS = 8
BATCH = 200
ROUNDS = 40
SAMPLES = 5
READY_SECONDS = 90


async def _timed(one: Callable[[], Awaitable[Any]]) -> float:
    """Give the median over the rounds of the CPU microseconds that one call takes."""
    took = []
    for _ in range(ROUNDS):
        gc.collect()
        begun = time.thread_time()
        for _ in range(BATCH):
            await one()
        await asyncio.sleep(0.01)  # what was buffered goes out here, and is counted
        took.append((time.thread_time() - begun) / BATCH * 1e6)
    return statistics.median(took)


async def _recorder(folder: Path, api: str) -> tuple[asyncio.subprocess.Process, Path]:
    path = folder / "recorder.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "express.recorder", "--socket", str(path), "--api", api,
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    while not path.exists():
        await asyncio.sleep(0.02)
    return process, path


async def _under_prefect(flow: Any) -> float:
    """Give the milliseconds of one flow run under Prefect's own engine, the first not counted."""
    await flow(1.5)
    took = []
    for _ in range(SAMPLES):
        begun = time.perf_counter()
        await flow(1.5)
        took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took)


async def measure(folder: Path) -> dict[str, Any]:
    """Start what is needed in `folder`, measure all four, and give the figures."""
    server = PrefectServer(folder, port=4700)
    await server.start()
    os.environ.update(PREFECT_HOME=str(folder / "client"), PREFECT_LOGGING_LEVEL="ERROR")

    from prefect.settings import PREFECT_API_URL, temporary_settings

    from express import Run, pipeline, step
    from express.recorder import SocketSink, recorder_stats

    async def plain(value: Any) -> tuple[Any]:
        return (value,)

    @step
    async def stepped(value: Any) -> tuple[Any]:
        return (value,)

    async def plain_flow(value: Any) -> Any:
        for _ in range(STEPS):
            value = await plain(value)
        return value

    @pipeline(name="express-cost")
    async def flow(value: Any) -> Any:
        for _ in range(STEPS):
            value = await stepped(value)
        return value

    async def express(sink: Any = None) -> None:
        run = Run("express-cost", name="cost", tags=["bench", "stream"], parameters={"bytes": 12}, sink=sink)
        await run.call(flow, 1.5)
        run.finish("completed", summary={"input_tokens": 12, "output_tokens": 34, "cost": 0.01})

    try:
        if not await server.ready(within=READY_SECONDS):
            raise RuntimeError(f"the Prefect server did not start: {server.log_path}")
        figures: dict[str, Any] = {
            "steps": STEPS,
            "plain_us": await _timed(lambda: plain_flow(1.5)),
            "express_unrecorded_us": await _timed(express),
        }
        # before the recorder, whose flood the server would still be at work on
        with temporary_settings({PREFECT_API_URL: server.url}):
            figures["prefect_ms"] = await _under_prefect(flow)
        process, path = await _recorder(folder, server.url)
        sink = SocketSink(path)
        figures["express_us"] = await _timed(lambda: express(sink))
        figures["recorder"] = await recorder_stats(path)
        figures["frames_dropped"] = sink.dropped
        await sink.close()
        process.kill()
        await process.wait()
    finally:
        await server.stop()
    figures["times_cheaper"] = figures["prefect_ms"] * 1e3 / figures["express_us"]
    return figures


def table(figures: dict[str, Any]) -> Table:
    shown = Table(title=f"a flow of {STEPS} async steps", title_justify="left")
    shown.add_column("run as")
    shown.add_column("microseconds", justify="right")
    for name, value in (
        ("plain coroutines", figures["plain_us"]),
        ("express, unrecorded", figures["express_unrecorded_us"]),
        ("express, recorded", figures["express_us"]),
        ("Prefect's own engine", figures["prefect_ms"] * 1e3),
    ):
        shown.add_row(name, f"{value:,.1f}")
    shown.caption = f"express is {figures['times_cheaper']:,.0f} times cheaper than Prefect's own engine"
    return shown


def main() -> dict[str, Any]:
    """Measure, print the table, and give the figures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        figures = asyncio.run(measure(Path(folder)))
    Console(stderr="--json" in sys.argv).print(table(figures))
    if "--json" in sys.argv:
        print(json.dumps(figures), flush=True)
    return figures


if __name__ == "__main__":
    main()
