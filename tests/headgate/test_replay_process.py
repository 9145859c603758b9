"""`headgate replay` as a person uses it: a gateway that captures, its Prefect server, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from sqlite3 import connect

import httpx
import pytest

from coordinators.capture_seal import seal_of
from coordinators.captures import CaptureFolder, Content
from tests.fakes import prefect_database
from tests.fakes.gateway import OURS, GatewayProcess
from tests.fakes.waiting import until

# a Prefect server comes up, and a command that loads Prefect: minutes where two cores are shared
pytestmark = pytest.mark.timeout(900)

KEY = "c2VjcmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM"
PROMPT = "CANARY-prompt that nobody may find"
ASK = {"model": "openai/gpt-5", "max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]}

# The command, whose own Prefect server begins with a database that was made before: else it takes minutes,
# and longer than the command waits.
WITH_A_DATABASE = """
import shutil, sys
from headgate import replaying
from headgate.cli import main

database = sys.argv.pop(1)

class Begun(replaying.PrefectServer):
    async def start(self):
        self.home.mkdir(mode=0o700)
        shutil.copy(database, self.home / "prefect.db")
        await super().start()

replaying.PrefectServer = Begun
main()
"""


def headgate(*words, cwd, program=("-m", "headgate"), **settings):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)} | settings
    return subprocess.run(
        [sys.executable, *program, *words],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


def answered(url):
    """Give what Prefect's API says; None while it is too busy for it."""
    try:
        answer = httpx.get(url)
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


@pytest.fixture(scope="module")
def gateway(openrouter_process):
    settings = {
        "OPENROUTER_API_KEY": "sk-or-v1-ours", "OPENROUTER_BASE_URL": openrouter_process.base_url,
        "OPENROUTER_WIRE": "chat", "HEADGATE_RETRIES": "0", "HEADGATE_CAPTURE": "errors",
        "HEADGATE_CAPTURE_KEY": KEY,
    }  # fmt: skip
    with GatewayProcess(**settings) as running:
        until(lambda: any("Prefect UI is up" in line for line in running.output), 240)
        yield running


def test_a_failed_request_is_run_again_beside_its_first_answer(gateway, openrouter):
    openrouter.script({"status": 503, "message": "busy"}, {"text": "The second answer."})
    refused = httpx.post(f"{gateway.url}/v1/messages", json=ASK)
    assert refused.status_code == 529
    known = refused.headers["request-id"]
    data = Path(gateway.environment["HEADGATE_DATA_DIR"])
    until(lambda: list((data / "captures").glob("*.capture")))
    settings = {name: value for name, value in gateway.environment.items() if name.startswith(OURS)}
    settings |= {"HEADGATE_PORT": gateway.url.rpartition(":")[2]}

    listed = headgate("captures", "--json", cwd=gateway.folder.name, **settings)
    assert [one["id"] for one in json.loads(listed.stdout)] == [known]
    done = headgate(
        "replay", known, "--model", "openai/gpt-5-mini", "--json", cwd=gateway.folder.name, **settings
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["first"]["status"], told["again"]["status"]) == (529, 200)
    assert told["again"]["answer"] == "The second answer."
    assert told["again"]["model"] == "openai/gpt-5-mini"
    assert openrouter.requests()[-1]["body"]["messages"][-1]["content"] == PROMPT
    assert {"validate_request-0", "call_backend-0", "render_message-0"} <= {
        name for name, _ in told["again"]["steps"]
    }

    ui, _, flow_run = told["again"]["link"].partition("/runs/flow-run/")
    run = until(lambda: answered(f"{ui}/api/flow_runs/{flow_run}"))
    assert run["name"] == told["again"]["run"]
    assert {"replay", f"replay-of:{known}"} <= set(run["tags"])
    assert run["parameters"]["exchange"]["body_bytes"] > 0

    # Prefect has nothing of the prompt, nor has anything else on the disk
    with closing(connect(data / "prefect" / "prefect.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for folder in (data, Path(gateway.environment["HEADGATE_LOG_DIR"])):
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):  # servers that run tidy up
                assert not path.is_file() or b"CANARY" not in path.read_bytes(), path
    assert "CANARY" not in gateway.log() + done.stderr


def test_without_a_gateway_it_runs_under_a_prefect_server_of_its_own(tmp_path):
    folder = CaptureFolder(tmp_path / "captures", most=10**6, hours=1)
    facts = {"id": "req_1", "flow": "streaming", "format": "anthropic", "status": 500, "ms": 12.0}
    body = json.dumps(ASK | {"stream": True}).encode()
    folder.write(facts, Content({}, body), seal_of([]))
    settings = {"HEADGATE_DATA_DIR": str(tmp_path), "HEADGATE_PORT": "9"}
    wrong = headgate("replay", "req_1", "--backend", "nobody", cwd=tmp_path, **settings)
    assert wrong.returncode == 1
    assert "those are demo" in wrong.stderr
    prefect_database.place(tmp_path / "made")
    program = ("-c", WITH_A_DATABASE, str(tmp_path / "made" / "prefect" / "prefect.db"))
    done = headgate("replay", "req_1", cwd=tmp_path, program=program, **settings)
    assert done.returncode == 0, done.stderr
    assert "filler text is sent" in done.stderr
    assert "starting a Prefect server for this run alone" in done.stderr
    assert "open_stream" in done.stdout
    assert "Filler text in place" in done.stdout  # the demo repeats what it was told
    assert "in a Prefect server for this run alone" in done.stdout
    assert "Traceback" not in done.stderr
