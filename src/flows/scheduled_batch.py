"""A batch made of a file by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import pipeline
from tasks.scheduled_batch import ScheduleFailed, find_batch, read_file, submit, wait_for, write_results

if TYPE_CHECKING:
    from tasks.scheduled_batch import Desk


@pipeline(name="scheduled-batch", description="Make a batch of a file, wait for it, and write the results.")
async def scheduled_batch(file: str, output: str, model: str | None, desk: Desk) -> str:
    """Make a batch of `file`, wait for it, and write the results below `output`; gives the folder.

    A run that made its batch before, in whichever process, goes on with that and needs no file.
    Raises ScheduleFailed if the file is no good, or if none of its requests succeeded.
    """
    made = await find_batch(desk)
    if made is None:
        await read_file(file, model)
        made = await submit(file, model, desk)
    batch = await wait_for(made, desk)
    folder = await write_results(batch, file, output, desk)
    if not batch.counts.succeeded:
        raise ScheduleFailed(f"none of the {batch.items:,} requests succeeded: see {folder}")
    return folder
