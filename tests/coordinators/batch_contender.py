"""A process that opens a store of batches and, told a batch, takes all of its chunks that it can get.

Started as a module with the store's address: says whether it migrated, reads a batch's id, and writes the
chunks that it has.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from coordinators.batch_store import SqlBatchStore


async def contend(url: str) -> None:
    async with SqlBatchStore(url) as store:
        print("migrated" if "alembic" in sys.modules else "opened", flush=True)
        batch_id = (await asyncio.to_thread(sys.stdin.readline)).strip()
        chunks = await store.chunks(batch_id)
        taken = [await store.lease_chunk(batch_id, chunk.number, f"of {os.getpid()}", 60) for chunk in chunks]
        print(json.dumps([lease.chunk for lease in taken if lease is not None]), flush=True)


if __name__ == "__main__":
    asyncio.run(contend(sys.argv[1]))
