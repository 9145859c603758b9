"""What tests of batches share: a real store, the real gateway's parts against a fake upstream, an engine."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.batch_engine import BatchEngine
from coordinators.batch_items import Persistence
from coordinators.batch_store import SqlBatchStore
from headgate.batch_kit import BatchParts
from headgate.instance import Instance
from headgate.settings import Settings
from tasks.batch import NewItem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from coordinators.batch_heart import Heart
    from tasks.batch import Batch, ItemResult

EAGER = Persistence(attempts=4, base=0.01, cap=0.02)


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/gpt-5", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more
    }  # fmt: skip


class Bench:
    """One store and as many engines as a test wants."""

    def __init__(self, folder: Path, upstream: str, chunk: int) -> None:
        self.folder = folder
        self.upstream = upstream
        self.url = f"sqlite:///{folder / 'headgate.db'}"
        self.chunk = chunk
        self.store = SqlBatchStore(self.url, chunk=chunk)

    def settings(self, **more: Any) -> Settings:
        return Settings(
            _env_file=None, PROXY_BACKEND="OPENROUTER", OPENROUTER_API_KEY="k",
            OPENROUTER_BASE_URL=self.upstream, HEADGATE_DATA_DIR=str(self.folder),
            HEADGATE_GRACE_SECONDS=3, **more,
        )  # fmt: skip

    async def make(self, *asked: Any, hours: float = 24, **more: Any) -> Batch:
        async with self.store.creating(**{"tenant": "anyone", "headers": {}, **more}) as draft:
            await draft.add(
                [
                    NewItem(f"item-{number}", one if isinstance(one, bytes) else orjson.dumps(one))
                    for number, one in enumerate(asked)
                ]
            )
            return await draft.commit(digest="d", expires_at=datetime.now(UTC) + timedelta(hours=hours))

    @asynccontextmanager
    async def engine(
        self,
        *,
        owner: str = "one",
        heart: Heart | None = None,
        persistence: Persistence = EAGER,
        prefect: Any = None,
        pool: str | None = None,
        **settings: Any,
    ) -> AsyncIterator[BatchEngine]:
        instance = Instance("test", str(self.folder), "OPENROUTER", "test", runs="off")
        parts = BatchParts(self.settings(**settings), instance, self.store, persistence)
        kit = replace(parts.kit, owner=owner, heart=heart or parts.kit.heart)
        engine = BatchEngine(kit, prefect, pool)
        ended = asyncio.Event()
        following = asyncio.create_task(engine.follow(0.05, ended))
        try:
            yield engine
        finally:
            ended.set()
            await following
            await engine.close()
            await parts.close()

    async def end(self, batch: Batch) -> None:
        """Cancel a batch and end it, without any engine."""
        await self.store.cancel(batch.id)
        lease = await self.store.lease_batch(batch.id, "who ends it", 60)
        assert lease is not None
        await self.store.close_out(lease, "canceled")
        await self.store.end(lease)

    async def until(self, batch: Batch, done: Any, seconds: float = 180) -> Batch:
        limit = time.monotonic() + seconds
        while True:
            seen = await self.store.get(batch.id)
            assert seen is not None
            if done(seen):
                return seen
            assert time.monotonic() < limit, seen
            await asyncio.sleep(0.02)

    async def ended(self, batch: Batch) -> tuple[Batch, list[ItemResult]]:
        seen = await self.until(batch, lambda one: one.status == "ended")
        results: list[ItemResult] = []
        while page := await self.store.results(batch.id, after=results[-1].seq if results else -1):
            results.extend(page)
        return seen, results


@asynccontextmanager
async def bench_at(folder: Path, upstream: str, chunk: int = 1000) -> AsyncIterator[Bench]:
    bench = Bench(folder, upstream, chunk)
    await bench.store.open()
    try:
        yield bench
    finally:
        await bench.store.close()


def upstream_calls(openrouter: Any) -> list[str]:
    """Give the texts that the upstream was asked."""
    return [seen["body"]["messages"][-1]["content"] for seen in openrouter.requests("chat")]


def counted(monkeypatch: Any, store: Any, name: str) -> list[Any]:
    """Note every call of one of the store's methods."""
    calls, original = [], getattr(store, name)

    async def noted(*given: Any, **more: Any) -> Any:
        calls.append(given)
        return await original(*given, **more)

    monkeypatch.setattr(store, name, noted)
    return calls
