"""A process that stores answers as fast as it can: `python cache_writer.py FOLDER LIMIT SEED COUNT BYTES`.

It prints a line for every answer, and ends with 1 if it ever reads another than was stored under a key.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from coordinators.cache_disk import DiskStore
from coordinators.cache_store import StoreFailed
from wire.timeline import Junk, decode, encode


def key_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def value_of(number: int, size: int) -> bytes:
    noise = random.Random(number).randbytes(size // 2).hex().encode()
    return encode(key_of(number), {"n": number}, noise)


async def main(folder: str, limit: str, seed: str, count: str, size: str) -> None:
    chance = random.Random(int(seed))
    store = DiskStore(Path(folder), int(limit))
    await store.open()
    for _ in range(int(count)):
        number = chance.randrange(200)
        try:
            await store.put(key_of(number), value_of(number, int(size)), b"{}", 600)
            await store.note({key_of(number): 1e9 + number}, {"written": 1})
        except StoreFailed as error:
            print("failed", error, flush=True)
        other = chance.randrange(200)
        try:
            found = await store.get(key_of(other))
            if found is not None and decode(key_of(other), found).facts != {"n": other}:
                os._exit(1)
        except StoreFailed as error:
            print("failed", error, flush=True)
        except Junk as error:
            print("junk", error, flush=True)
        print("written", number, flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
