"""What a batch is compared with: `python -m benchmarks.batch_peers naive|prefect --upstream PORT --items N`.

`naive` is what one writes without a gateway: `AsyncAnthropic`, a semaphore, a table of answers. `prefect` is
one task of Prefect's own engine for each request, against a Prefect server of its own. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic

from benchmarks.bodies import CLIENT_KEY, MESSAGES_MODEL

_READY_SECONDS = 120


def batch_requests(count: int) -> list[dict[str, Any]]:
    """Give the requests of a batch, in the form that the API takes them in."""
    return [
        {
            "custom_id": f"item-{number:06d}",
            "params": {
                "model": MESSAGES_MODEL,
                "max_tokens": 200,
                "messages": [{"role": "user", "content": f"Where does gate number {number} lead the water?"}],
            },
        }
        for number in range(count)
    ]


def _client(port: int) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=f"http://127.0.0.1:{port}/api", api_key=CLIENT_KEY)


class Clock:
    """Seconds, and CPU seconds of this process, since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


async def _naive(port: int, items: int, concurrency: int) -> tuple[float, float]:
    results: dict[str, Any] = {}
    places = asyncio.Semaphore(concurrency)
    async with _client(port) as client:

        async def one(request: dict[str, Any]) -> None:
            async with places:
                results[request["custom_id"]] = await client.messages.create(**request["params"])

        for request in batch_requests(concurrency):  # its connections, and what it imports late
            await one(request)
        clock = Clock()
        await asyncio.gather(*(one(request) for request in batch_requests(items)))
        took = clock.read()
    if len(results) != items:
        raise RuntimeError(f"{len(results)} answers to {items} requests")
    return took


async def _prefect(port: int, items: int, concurrency: int, folder: Path) -> tuple[float, float]:
    from coordinators.prefect_server import PrefectServer

    server = PrefectServer(folder, port=4800)
    await server.start()
    os.environ.update(
        PREFECT_HOME=str(folder / "client"), PREFECT_LOGGING_LEVEL="ERROR", PREFECT_API_URL=server.url
    )
    from prefect import flow, task

    try:
        if not await server.ready(within=_READY_SECONDS):
            raise RuntimeError(f"the Prefect server did not start: {server.log_path}")
        places = asyncio.Semaphore(concurrency)
        async with _client(port) as client:

            @task
            async def one(custom_id: str, params: dict[str, Any]) -> str:
                return (await client.messages.create(**params)).to_json() and custom_id

            async def in_turn(request: dict[str, Any]) -> str:
                async with places:
                    return await one(request["custom_id"], request["params"])

            @flow
            async def batch(count: int) -> int:
                return len(await asyncio.gather(*map(in_turn, batch_requests(count))))

            await batch(1)
            clock = Clock()
            await batch(items)
            return clock.read()
    finally:
        await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_peers", description=__doc__)
    parser.add_argument("what", choices=("naive", "prefect"))
    parser.add_argument("--upstream", type=int, required=True, metavar="PORT")
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=32)
    options = parser.parse_args()
    if options.what == "naive":
        seconds, cpu = asyncio.run(_naive(options.upstream, options.items, options.concurrency))
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            seconds, cpu = asyncio.run(
                _prefect(options.upstream, options.items, options.concurrency, Path(folder))
            )
    figures = {
        "items": options.items,
        "seconds": round(seconds, 3),
        "items_per_s": round(options.items / seconds, 1),
        "cpu_us_per_item": round(1e6 * cpu / options.items, 1),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
