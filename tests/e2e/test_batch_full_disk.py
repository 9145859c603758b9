"""Batches on a disk that is full: a real file system of a few megabytes, which only root can mount."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from tests.e2e.gateways import Headgate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.handle import FakeOpenRouter

SIZE = 28 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small file system, for the data folder."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only, and not in every container")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def asked(count: int, size: int) -> Any:
    messages = [{"role": "user", "content": "x" * size}]
    params = {"model": "openai/gpt-5", "max_tokens": 50, "messages": messages}
    return [{"custom_id": f"item-{number}", "params": params} for number in range(count)]


def rows(place: Path) -> dict[str, int]:
    """Count what the database holds of batches."""
    with sqlite3.connect(f"file:{place / 'data' / 'headgate.db'}?mode=ro", uri=True) as database:
        tables = ("batches", "batch_items", "batch_results")
        found = {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}
    database.close()
    return found


def fill(place: Path, left: int) -> Path:
    """Leave so many bytes of the disk."""
    filler = place / "filler"
    status = os.statvfs(place)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - left)
    return filler


def wait_ended(client: anthropic.Anthropic, batch_id: str) -> Any:
    limit = time.monotonic() + 90
    while (batch := client.messages.batches.retrieve(batch_id)).processing_status != "ended":
        assert time.monotonic() < limit, batch
        time.sleep(0.1)
    return batch


@pytest.mark.timeout(300)
def test_a_full_disk_refuses_batches_and_loses_none(
    small_disk: Path, tmp_path: Path, openrouter: FakeOpenRouter
) -> None:
    settings = {"HEADGATE_DATA_DIR": str(small_disk / "data"), "HEADGATE_BATCH_CONCURRENCY": "4"}
    with (
        Headgate(tmp_path / "headgate", openrouter.base_url, "chat", "--no-prefect", **settings) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        batches = client.messages.batches
        first = batches.create(requests=asked(20, 100))
        assert wait_ended(client, first.id).request_counts.succeeded == 20
        before = rows(small_disk)
        assert before == {"batches": 1, "batch_items": 20, "batch_results": 20}

        # The disk becomes full while the body is being read.
        with pytest.raises(anthropic.APIStatusError) as refused:
            batches.create(requests=asked(400, 100_000))
        assert refused.value.status_code == 529
        assert refused.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]
        assert str(tmp_path) not in refused.value.message
        assert rows(small_disk) == before
        assert [one.id for one in batches.list()] == [first.id]

        # What is refused leaves room for what there is; a batch under way goes on when there is room again.
        openrouter.script({"text": "A long answer. " * 2000, "first_delay": 0.2, "times": 0})
        second = batches.create(requests=asked(100, 100))
        filler = fill(small_disk, 0)
        with pytest.raises(anthropic.APIStatusError) as refused:
            batches.create(requests=asked(1, 10))
        assert refused.value.status_code == 529
        limit = time.monotonic() + 60
        while "the disk is full" not in gateway.log.read_text():
            assert time.monotonic() < limit, gateway.log.read_text()
            time.sleep(0.1)
        assert batches.retrieve(second.id).processing_status == "in_progress"
        assert [one.id for one in batches.list()] == [second.id, first.id]
        filler.unlink()
        assert wait_ended(client, second.id).request_counts.succeeded == 100
        assert len({one.custom_id for one in batches.results(second.id)}) == 100
        third = batches.create(requests=asked(1, 10))
        assert wait_ended(client, third.id).request_counts.succeeded == 1
