"""A batch of messages: its chunks, some at a time, each a flow run of its own.

Both flows are given ids only, as deployments are; `tasks.batch_desk` leads from them to who does the work.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from express import current_run, pipeline
from tasks.batch_desk import desk_of
from tasks.execute_batch import answer_chunk, close_batch, open_chunks, send_chunk, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from tasks.batch_desk import ChunkNumber


BATCH_DEPLOYMENT = "message-batch"


@pipeline(name="message_batch", description="Answer a batch of Messages requests.")
async def message_batch(batch_id: str) -> Mapping[str, int]:
    """Answer every request of a batch, and end it; gives its counts."""
    batch_id = shown(batch_id)
    chunks = await open_chunks(batch_id)
    away = _goes_away(batch_id)
    at_once = desk_of(batch_id).at_once(away=away)
    await spread(batch_id, chunks, _by_worker if away else message_chunk, at_once)
    return await close_batch(batch_id)


@pipeline(
    name="message_chunk",
    description="Answer a part of a batch of Messages requests.",
    flow_run_name="{batch_id}-chunk-{chunk}",
)
async def message_chunk(batch_id: str, chunk: int) -> Mapping[str, int]:
    """Answer the requests of one chunk that have no result; gives how many there are of each outcome."""
    return await answer_chunk(batch_id, chunk)


async def spread(
    batch_id: str, chunks: list[ChunkNumber], run: Callable[[str, ChunkNumber], Awaitable[Any]], at_once: int
) -> None:
    """Have every chunk run, so many at once, until the batch does not go on.

    More than one: what Prefect takes for starting and ending a run passes while another chunk is under way.
    A chunk that fails does not keep the others from running; the first failure is raised in the end.
    """
    left = iter(chunks)
    ended = await asyncio.gather(
        *(_in_turn(batch_id, left, run) for _ in range(min(at_once, len(chunks)))),
        return_exceptions=True,
    )
    for failure in ended:
        if isinstance(failure, BaseException):
            raise failure


async def _in_turn(
    batch_id: str, left: Iterator[ChunkNumber], run: Callable[[str, ChunkNumber], Awaitable[Any]]
) -> None:
    failed: Exception | None = None
    desk = desk_of(batch_id)
    for chunk in left:
        if not await desk.goes_on():
            break
        try:
            await run(batch_id, chunk)
        except Exception as error:  # noqa: BLE001 - raised below
            failed = failed or error
    if failed is not None:
        raise failed


def _goes_away(batch_id: str) -> bool:
    """Say whether workers do it: they are told by Prefect, and by nobody if the run is an express one."""
    return desk_of(batch_id).pool is not None and current_run() is None


async def _by_worker(batch_id: str, chunk: ChunkNumber) -> str:
    pool = desk_of(batch_id).pool
    return await send_chunk(batch_id, chunk, f"{message_chunk.name}/{pool_deployment(str(pool))}")


def pool_deployment(pool: str) -> str:
    """Name the deployment of `message_chunk` in a work pool."""
    return f"pool-{pool}"
