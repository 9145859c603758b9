"""What the tests of scheduled batches share: files, answers, runs and their states."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.orchestration import get_client

from coordinators import batch_schedules
from coordinators.batch_schedules import Wanted
from coordinators.prefect_thread import PrefectThread
from coordinators.scheduled_batches import ScheduledBatches
from tasks.batch import ItemResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from coordinators.batch_store import SqlBatchStore

FAILED = b'{"type":"error","error":{"type":"api_error","message":"=no|luck"},"request_id":"req_1"}'
MESSAGE = b'{"id":"msg_1","content":[]}'


def a_file(path: Path, *names: str) -> str:
    params = {"model": "big", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    path.write_text("\n".join(json.dumps({"custom_id": name, "params": params}) for name in names))
    return str(path)


async def answer(store: SqlBatchStore) -> None:
    """Answer every open batch: requests named `bad…` fail. It stands in for what executes batches."""
    for batch in await store.open_batches():
        lease = await store.lease_batch(batch.id, "test", 60)
        assert lease is not None
        if batch.status == "canceling":
            await store.close_out(lease, "canceled")
        for chunk in await store.chunks(batch.id):
            mine = await store.lease_chunk(batch.id, chunk.number, "test", 60)
            if mine is None:
                continue
            items = await store.pending(mine)
            await store.record(mine, [_result(item.seq, item.custom_id) for item in items])
            await store.finish_chunk(mine)
        assert await store.end(lease) is not None


def _result(seq: int, custom_id: str) -> ItemResult:
    if custom_id.startswith("bad"):
        return ItemResult(seq, custom_id, "errored", FAILED, 1, error_type="api_error", error_hash="abc")
    return ItemResult(
        seq, custom_id, "succeeded", MESSAGE, 1, ms=5.0, input_tokens=3, output_tokens=4, cost=0.5
    )


@asynccontextmanager
async def runner(store: SqlBatchStore) -> AsyncIterator[ScheduledBatches]:
    async def opened() -> SqlBatchStore:
        return store

    thread = PrefectThread()
    try:
        yield ScheduledBatches(thread, opened, tenant="anyone", hours=1, look=0.05)
    finally:
        await thread.close()


def wanted(tmp_path: Path, file: str, **changed: Any) -> Wanted:
    name = f"test-{time.time_ns()}"
    return replace(Wanted(name, file, str(tmp_path / "out"), None, "0 2 1 1 *", "Europe/Berlin"), **changed)


async def make(one: Wanted, *, shared: bool = False) -> Any:
    async with get_client() as client:
        new = await batch_schedules.create(client, one, shared=shared)
        return new, await client.read_deployment_by_name(f"scheduled-batch/{one.name}")


async def run_now(deployment: Any, **parameters: Any) -> Any:
    async with get_client() as client:
        return await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)


def change(method: str, url: str, body: dict[str, Any]) -> None:
    """Do what somebody does in the UI; a busy server says 503."""
    limit = time.monotonic() + 60
    while (done := httpx.request(method, url, json=body)).status_code == 503:
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert done.is_success, done.text


async def state_of(run: Any) -> Any:
    async with get_client() as client:
        return (await client.read_flow_run(run.id)).state


async def until_settled(batches: ScheduledBatches, store: SqlBatchStore) -> None:
    limit = time.monotonic() + 90
    while batches.busy:
        await answer(store)
        assert time.monotonic() < limit
        await asyncio.sleep(0.1)
