"""A request as a person sees it: its flow run in the Prefect UI, in a real browser."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from tests.e2e.browser import chromium, rendered, screenshot
from tests.e2e.conftest import CACHE
from tests.e2e.gateways import Headgate, free_port
from tests.e2e.tab import Tab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.handle import FakeOpenRouter

PREFECT_SECONDS = 90
RUN_SECONDS = 20


def fetch(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def recording(
    openrouter_process: FakeOpenRouter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Headgate, str]]:
    """Give a gateway with its own Prefect server, and the server's address without `/api`."""
    prefect, folder = free_port(), tmp_path_factory.mktemp("recording")
    settings = {"PREFECT_SERVER_API_PORT": str(prefect), "HEADGATE_RETRIES": "0"}
    with Headgate(folder / "headgate", openrouter_process.base_url, "chat", **settings) as gateway:
        limit = time.monotonic() + PREFECT_SECONDS
        while "Prefect UI is up" not in gateway.log.read_text():
            assert time.monotonic() < limit, gateway.log.read_text()
            time.sleep(0.2)
        yield gateway, f"http://127.0.0.1:{prefect}"


def wait_for_run(prefect: str, request_id: str, steps: set[str]) -> dict[str, Any]:
    """Give the recorded run of a request once it has ended and all its steps are there."""
    names: set[str] = set()
    limit = time.monotonic() + RUN_SECONDS
    while True:
        named = {"flow_runs": {"name": {"like_": request_id}}}
        runs = fetch(f"{prefect}/api/flow_runs/filter", named)
        if runs and runs[0]["state_type"] in ("COMPLETED", "FAILED"):
            wanted = {"flow_runs": {"id": {"any_": [runs[0]["id"]]}}}
            names = {task["name"] for task in fetch(f"{prefect}/api/task_runs/filter", wanted)}
            if steps <= names:
                return dict(runs[0])
        assert time.monotonic() < limit, (names, runs)
        time.sleep(0.2)


STEPS = {"validate_request-0", "resolve_model-0", "convert_request-0", "open_stream-0", "relay_stream-0"}


def test_a_run_and_its_steps_are_seen_in_the_browser(
    recording: tuple[Headgate, str], openrouter: FakeOpenRouter
) -> None:
    chromium()
    gateway, prefect = recording
    text = "Water flows through the gate, and every drop is counted. " * 4
    openrouter.script({"text": text, "first_delay": 0.5, "delay": 0.06})
    client = anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0)
    asked = [{"role": "user", "content": "How does the water flow?"}]
    with (
        client,
        client.messages.stream(model="claude-sonnet-latest", max_tokens=500, messages=asked) as stream,
    ):
        request_id = stream.response.headers["request-id"]
        assert stream.get_final_text() == text
    run = wait_for_run(prefect, request_id, STEPS)
    assert run["name"] == f"streaming-{request_id}"
    assert run["state_type"] == "COMPLETED"

    artifacts = fetch(f"{prefect}/api/artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert [artifact["key"] for artifact in artifacts] == ["request-summary"]

    page = f"{prefect}/v2/runs/flow-run/{run['id']}?tab=TaskRuns"
    shown = rendered(page)
    assert run["name"] in shown
    assert [step for step in STEPS if step not in shown] == []
    CACHE.mkdir(exist_ok=True)
    picture = CACHE / "prefect-run.png"
    screenshot(page, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_a_failure_is_found_by_its_hash_and_by_the_overviews_link(
    recording: tuple[Headgate, str], openrouter: FakeOpenRouter
) -> None:
    gateway, prefect = recording
    openrouter.script({"status": 502, "message": "the upstream is ill", "times": 0})
    client = anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0)
    with client, pytest.raises(anthropic.InternalServerError) as caught:
        client.messages.create(model="big", max_tokens=5, messages=[{"role": "user", "content": "Hello"}])
    found = re.search(r"\[error ([0-9a-f]{12})\]$", caught.value.body["error"]["message"])  # type: ignore[index]
    assert found, caught.value.body
    request_id = caught.value.response.headers["request-id"]
    run = wait_for_run(prefect, request_id, {"call_backend-0"})
    assert run["state_type"] == "FAILED"
    tagged = fetch(
        f"{prefect}/api/flow_runs/filter", {"flow_runs": {"tags": {"all_": [f"error:{found[1]}"]}}}
    )
    assert [one["id"] for one in tagged] == [run["id"]]

    with Tab() as tab:
        tab.open(f"{gateway.url}/overview")
        link = f"document.querySelector('a[href$=\"messages-{request_id}\"]')"
        tab.until(f"{link} !== null")
        tab.open(str(tab.run(f"{link}.href")))
        tab.until(f"document.body.innerText.includes('messages-{request_id}')")
        tab.until("document.body.innerText.includes('Failed')")
        tab.screenshot(CACHE / "overview-link.png")
