"""The steps of executing a batch. The work itself is its desk's.

Those of a batch are tasks to Prefect; that of a chunk is not, because it would be the only one of its flow
run and cost the Prefect server as much again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step
from tasks.batch_desk import BatchId, ChunkNumber, desk_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@step
async def open_chunks(batch_id: str) -> list[ChunkNumber]:
    """Find the chunks that are not done."""
    return [ChunkNumber(chunk) for chunk in await desk_of(batch_id).open_chunks()]


async def answer_chunk(batch_id: str, chunk: int) -> Mapping[str, int]:
    """Answer a chunk's requests, and record the results."""
    return await desk_of(batch_id, chunk).answer_chunk(chunk)


async def send_chunk(batch_id: str, chunk: int, deployment: str) -> str:
    """Have a worker of the pool answer a chunk, and another one if the first is lost; gives how it ended.

    To be called within a flow that Prefect runs: the chunk's run becomes a subflow of it.
    """
    from prefect.context import FlowRunContext  # noqa: PLC0415 - only with a work pool
    from prefect.deployments.flow_runs import arun_deployment  # noqa: PLC0415 - only with a work pool

    desk = desk_of(batch_id)
    parameters = {"batch_id": str(batch_id), "chunk": int(chunk)}
    name = f"{batch_id}-chunk-{chunk}"
    context = FlowRunContext.get()
    tags = context.flow_run.tags if context is not None and context.flow_run is not None else []
    while True:
        run = await arun_deployment(
            deployment, parameters=parameters, flow_run_name=name, timeout=0, as_subflow=True, tags=tags
        )
        ended = await desk.watch_chunk(chunk, str(run.id))
        if ended != "again":
            return ended


@step
async def close_batch(batch_id: str) -> Mapping[str, int]:
    """End the batch; gives its counts."""
    return await desk_of(batch_id).close_batch()


def shown(batch_id: str) -> BatchId:
    """Give the id as one that a flow run may show."""
    return BatchId(batch_id)
