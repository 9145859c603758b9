"""Failures planted in the steps of batches, in a real `headgate serve`: found by hash wherever one looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import anthropic
import httpx
import pytest

from tests.fakes.gateway import ROOT, GatewayProcess

PLANTED = Path(__file__).with_name("planted")
STEPS = {"open_chunks", "close_batch"}


@pytest.fixture
def gateway(openrouter):
    paths = os.pathsep.join([str(PLANTED), str(ROOT / "src")])
    openrouter.script({"text": "Fine.", "times": 0})
    given = {
        "OPENROUTER_API_KEY": "k",
        "OPENROUTER_BASE_URL": openrouter.base_url,
        "PYTHONPATH": paths,
        "PLANTED_IN_BATCHES": "yes",
    }
    with GatewayProcess("--no-prefect", **given) as gateway:
        yield gateway


def ended(client, batch):
    limit = time.monotonic() + 90
    while (now := client.messages.batches.retrieve(batch.id)).processing_status != "ended":
        assert time.monotonic() < limit, now
        time.sleep(0.1)
    return now


def test_failures_in_a_batchs_steps_are_found_and_the_batch_ends(gateway):
    client = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    params = {
        "model": "openai/gpt-5",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "A secret prompt"}],
    }
    batch = client.messages.batches.create(requests=[{"custom_id": "one", "params": params}])
    assert ended(client, batch).request_counts.succeeded == 1

    (file,) = Path(gateway.environment["HEADGATE_LOG_DIR"]).glob("server_*/errors.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    found = {one["function"]: one for one in records if one["type"] == "Planted"}
    assert set(found) == STEPS
    for one in found.values():
        assert one["process"] == "batches"
        assert one["stack"][-1]["file"] == "tasks/execute_batch.py"
        shown = httpx.get(f"{gateway.url}/debug/errors/hash/{one['hash']}").json()
        assert shown["count"] == 1
        searched = httpx.get(f"{gateway.url}/debug/errors/search", params={"hash": one["hash"]}).json()
        assert [record["function"] for record in searched["data"]] == [one["function"]]
        done = subprocess.run(
            [sys.executable, "-m", "headgate", "errors", "show", one["hash"]],
            env=gateway.environment, cwd=gateway.folder.name, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert one["function"] in done.stdout
        assert f'"error_hash":"{one["hash"]}"' in gateway.log()
    assert "secret prompt" not in file.read_text() + gateway.log()
