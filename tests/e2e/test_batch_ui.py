"""Batches as a person sees them in the Prefect UI, in a real browser: one's run, a schedule that fires."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from tests.e2e.browser import chromium, rendered, screenshot
from tests.e2e.conftest import CACHE
from tests.e2e.gateways import Headgate, free_port
from tests.e2e.test_prefect_ui import fetch as fetch_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes.handle import FakeOpenRouter

PATIENCE = 300

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def gateway(
    openrouter_process: FakeOpenRouter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Headgate, str]]:
    """Give a gateway whose Prefect server is up, and that server's address without `/api`."""
    chromium()
    openrouter, folder = openrouter_process, tmp_path_factory.mktemp("batch-ui")
    openrouter.reset()
    openrouter.script({"text": "Fine.", "first_delay": 0.1, "times": 0})
    prefect = free_port()
    settings = {
        "PREFECT_SERVER_API_PORT": str(prefect),
        "HEADGATE_BATCH_CHUNK": "10",
        "HEADGATE_BATCH_CONCURRENCY": "2",
        "HEADGATE_BATCH_PREFECT_SECONDS": "120",
    }
    with Headgate(folder, openrouter.base_url, "chat", **settings) as served:
        url = f"http://127.0.0.1:{prefect}"
        wait_for(lambda: _answers(url), served)
        yield served, url


def _answers(prefect: str) -> bool:
    try:
        return bool(fetch_once(f"{prefect}/api/health"))
    except OSError:
        return False


def fetch(url: str, body: dict[str, Any]) -> Any:
    """Ask Prefect until it answers: a busy server says 503, or nothing for a while."""
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            return fetch_once(url, body)
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(1)


def wait_for(found: Callable[[], Any], served: Headgate) -> Any:
    """Ask until there is something, and give it."""
    limit = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert time.monotonic() < limit, served.log.read_text()[-4000:]
        time.sleep(0.5)
    return answer


def runs(prefect: str, **wanted: Any) -> list[Any]:
    return list(fetch(f"{prefect}/api/flow_runs/filter", {"flow_runs": wanted, "sort": "START_TIME_DESC"}))


def picture(page: str, name: str) -> None:
    CACHE.mkdir(exist_ok=True)
    file = CACHE / name
    screenshot(page, file)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.stat().st_size > 20_000
    print(file)


def request(number: int) -> Any:
    params: dict[str, Any] = {"model": "openai/gpt-5", "max_tokens": 50}
    params["messages"] = [{"role": "user", "content": f"Question {number}"}]
    if number == 3:
        del params["max_tokens"]
    return {"custom_id": f"item-{number}", "params": params}


def test_a_batch_its_chunks_and_its_progress_are_seen(gateway: tuple[Headgate, str]) -> None:
    served, prefect = gateway
    with anthropic.Anthropic(base_url=served.url, api_key="none") as client:
        batch = client.messages.batches.create(requests=[request(number) for number in range(40)])
        ended = wait_for(
            lambda: client.messages.batches.retrieve(batch.id).processing_status == "ended", served
        )
    assert ended
    named = {"name": {"like_": f"batch-{batch.id}"}}
    completed = {"type": {"any_": ["COMPLETED"]}}
    (run,) = wait_for(lambda: runs(prefect, **named, state=completed), served)
    chunks = {one["name"] for one in runs(prefect, parent_flow_run_id={"any_": [run["id"]]})}
    assert chunks == {f"{batch.id}-chunk-{number}" for number in range(4)}
    kept = fetch(f"{prefect}/api/artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    progress = {one["type"]: one for one in kept}
    assert progress["progress"]["data"] == 100.0
    assert progress["progress"]["description"].startswith("40 of 40 requests done")
    assert "item-3" in progress["table"]["data"]
    assert "Question" not in progress["table"]["data"]

    page = f"{prefect}/v2/runs/flow-run/{run['id']}"
    shown = rendered(f"{page}?tab=SubflowRuns")
    assert run["name"] in shown
    assert [name for name in chunks if name not in shown] == []
    picture(f"{page}?tab=SubflowRuns", "batch-run.png")
    shown = rendered(f"{page}?tab=Artifacts")
    assert "40 of 40 requests done" in shown or progress["progress"]["key"] in shown
    picture(f"{page}?tab=Artifacts", "batch-artifacts.png")


def test_a_schedule_is_seen_firing(gateway: tuple[Headgate, str], tmp_path: Path) -> None:
    served, prefect = gateway
    file, output = tmp_path / "nightly.jsonl", tmp_path / "results"
    file.write_text("\n".join(json.dumps(request(number)) for number in (1, 2)))
    told = [sys.executable, "-m", "headgate", "batch", "schedule", str(file), "--cron", "* * * * *"]
    subprocess.run([*told, "--output", str(output), "--url", served.url], env=served.environment, check=True)
    state = {"type": {"any_": ["COMPLETED"]}}
    flow = {"flows": {"name": {"any_": ["scheduled-batch"]}}, "flow_runs": {"state": state}}
    run = wait_for(lambda: fetch(f"{prefect}/api/flow_runs/filter", flow), served)[0]
    assert run["auto_scheduled"] is True
    assert run["expected_start_time"] <= run["start_time"]
    (results,) = list(output.glob("*/results.jsonl"))[:1]
    assert {json.loads(line)["custom_id"] for line in results.read_text().splitlines()} == {
        "item-1",
        "item-2",
    }
    page = f"{prefect}/v2/runs/flow-run/{run['id']}"
    shown = rendered(page)
    assert run["name"] in shown
    assert [word for word in ("Completed", "auto-scheduled", "nightly") if word not in shown] == []
    picture(page, "scheduled-batch.png")
