"""Requests of batches that are refused before they are asked: found by their hashes, as all errors are."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson

from coordinators import key_records
from coordinators.batch_engine import BatchEngine
from coordinators.usage_store import UsageStore
from headgate.batch_kit import BatchParts
from headgate.instance import Instance
from headgate.recording import make_folder, scrubber_of
from tests.coordinators.batch_bench import EAGER, Bench, ask, bench_at
from tests.coordinators.test_usage import stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.handle import FakeOpenRouter


@asynccontextmanager
async def serving(bench: Bench) -> AsyncIterator[Path]:
    """Execute batches as a server's process does, with its log folder; gives the error log."""
    settings = bench.settings(HEADGATE_LOG_DIR=str(bench.folder / "logs"))
    instance = Instance("test", str(bench.folder), "OPENROUTER", "test", runs="off")
    folder = make_folder(settings, instance, scrubber_of(settings))
    parts = BatchParts(settings, instance, bench.store, EAGER)
    await parts.start()
    engine, ended = BatchEngine(parts.kit, None, None), asyncio.Event()
    following = asyncio.create_task(engine.follow(0.05, ended))
    try:
        yield folder.errors
    finally:
        ended.set()
        await following
        await engine.close()
        await parts.close()
        folder.release()


def records(errors: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in errors.read_bytes().splitlines()]


def shown(bench: Bench, known: str) -> str:
    words = ["errors", "show", known, "--log-dir", str(bench.folder / "logs")]
    done = subprocess.run(
        [sys.executable, "-m", "headgate", *words],
        cwd=bench.folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_requests_that_are_wrong_are_noted_where_they_are_refused(
    tmp_path: Path, openrouter: FakeOpenRouter
) -> None:
    async with bench_at(tmp_path, openrouter.base_url) as bench:
        async with serving(bench) as errors:
            batch = await bench.make(ask("a secret prompt", stream=True), b"[1]")
            _, (streamed, listed) = await bench.ended(batch)
        noted = {one["hash"]: one for one in records(errors)}
        assert set(noted) == {streamed.error_hash, listed.error_hash}
        one = noted[streamed.error_hash]
        assert (one["type"], one["status"], one["process"]) == ("InvalidRequest", 400, "batches")
        assert (one["file"], one["batch"]) == ("coordinators/batch_items.py", batch.id)
        assert one["message"].startswith("stream: ")
        assert one["request"]["id"] == orjson.loads(streamed.body)["request_id"]
        assert one["request"]["model"] == "openai/gpt-5"
        assert noted[listed.error_hash]["file"] == "wire/body.py"
        assert b"secret prompt" not in errors.read_bytes()
        for result in (streamed, listed):
            assert result.error_hash is not None
            assert "InvalidRequest" in shown(bench, result.error_hash)
    assert openrouter.requests("chat") == []


async def test_requests_of_a_key_that_was_revoked_are_noted(
    tmp_path: Path, openrouter: FakeOpenRouter
) -> None:
    key = stored("hg_1", "gone", revoked_at=1.0)
    async with bench_at(tmp_path, openrouter.base_url) as bench:
        store = UsageStore(bench.url)
        await store.write(key_records.create, key)
        async with serving(bench) as errors:
            _, (result,) = await bench.ended(await bench.make(ask("a"), tenant=key.id))
        await store.close()
    assert result.error_type == "permission_error"
    (one,) = records(errors)
    assert (one["hash"], one["type"]) == (result.error_hash, "PermissionDenied")


async def test_what_its_run_noted_is_not_noted_again(tmp_path: Path, openrouter: FakeOpenRouter) -> None:
    openrouter.script({"status": 400, "message": "no", "times": 0})
    async with bench_at(tmp_path, openrouter.base_url) as bench, serving(bench) as errors:
        _, (result,) = await bench.ended(await bench.make(ask("a")))
    assert [one["hash"] for one in records(errors)] == [result.error_hash]


async def test_of_many_alike_in_a_batch_the_first_are_noted(
    tmp_path: Path, openrouter: FakeOpenRouter
) -> None:
    wrong = [*(ask(f"{n}", stream=True) for n in range(300)), *[b"{"] * 3]
    async with bench_at(tmp_path, openrouter.base_url) as bench, serving(bench) as errors:
        ended, results = await bench.ended(await bench.make(*wrong))
        _, (again,) = await bench.ended(await bench.make(ask("another", stream=True)))
    assert ended.counts.errored == 303
    assert {one.error_hash for one in results[:300]} == {again.error_hash}
    noted = [one["hash"] for one in records(errors)]
    assert noted.count(again.error_hash) == 30 + 1
    assert noted.count(results[-1].error_hash) == 3
    assert not any(one["stack"] for one in records(errors))
