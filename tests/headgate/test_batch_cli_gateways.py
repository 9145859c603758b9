"""`headgate batch` at real gateways, and where its schedules are kept."""

from __future__ import annotations

import gzip
import json
import re
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from headgate import batch_schedule_cli
from headgate.gateway_client import GatewayClient
from tests.fakes.gateway import GatewayProcess
from tests.fakes.waiting import until
from tests.headgate.batch_commands import a_file, asked, many, run, told
from tests.headgate.terminals import at_terminal, read_rest, read_until
from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

    from tests.fakes.handle import FakeOpenRouter

pytestmark = pytest.mark.usefixtures("nothing_set")


# Where schedules are kept


def gateway_with(monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    told = {"runs": "express", "prefect": {"api_url": api}}
    monkeypatch.setattr(GatewayClient, "get", lambda self, path: told)


def test_schedules_are_not_made_on_the_loopback_of_another_machine(monkeypatch):
    gateway_with(monkeypatch, "http://127.0.0.1:4200/api")
    done = run("schedules", "--url", "http://gateway.example:8082")
    assert done.exit_code == 1
    assert "that gateway's Prefect server is for its own machine" in done.output


@pytest.mark.parametrize(
    ("named", "gateways", "url", "shared"),
    [
        ("http://127.0.0.1:9/api", "", None, False),
        ("https://prefect.example/api", "", None, True),
        (None, "http://[::1]:9/api", None, False),
        (None, "http://localhost:9/api", "http://127.0.0.1:8082", False),
        (None, "https://prefect.example/api", "http://127.0.0.1:8082", True),
        (None, "https://prefect.example/api", "http://gateway.example:8082", True),
    ],
)
def test_a_schedule_is_its_machines_where_others_reach_the_server(
    monkeypatch, tmp_path, named, gateways, url, shared
):
    gateway_with(monkeypatch, gateways)
    for name in ("PREFECT_API_URL", "PREFECT_SERVER_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "data" / "prefect"))
    if named is not None:
        monkeypatch.setenv("PREFECT_API_URL", named)
    assert batch_schedule_cli._prefect(url, None) == (shared, named or gateways)
    assert (tmp_path / "data" / "prefect").stat().st_mode & 0o777 == 0o700


# At a real gateway


@pytest.fixture(scope="module")
def gateway_process(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    settings = {
        "HEADGATE_FIRST_BYTE_TIMEOUT": "45",
        "HEADGATE_ANSWER_TIMEOUT": "30",
        "HEADGATE_BATCH_ATTEMPTS": "1",
    }
    with gateway_on(
        openrouter_process, whole=True, traced=True, OPENROUTER_WIRE="messages", **settings
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_process: GatewayProcess, openrouter: FakeOpenRouter) -> GatewayProcess:
    return gateway_process


def at(gateway: GatewayProcess, *words: str, **given: Any) -> Result:
    return run(words[0], "--url", gateway.url, *words[1:], **given)


def lines_of(text: str) -> dict[str, Any]:
    return {one["custom_id"]: one for one in map(json.loads, text.splitlines())}


def test_a_batch_from_end_to_end(gateway, tmp_path):
    file = a_file(tmp_path, "questions.jsonl", **many(5))
    done = at(gateway, "submit", file, "--output", "answers.jsonl")
    assert done.exit_code == 0, done.output
    made = re.search(r"Made (msgbatch_\w+) of 5 requests", done.output)
    assert made is not None
    assert f"{made[1]} ended: 5 succeeded of 5" in done.output
    assert "Wrote 5 results to answers.jsonl" in done.output
    answers = lines_of((tmp_path / "answers.jsonl").read_text())
    assert answers.keys() == {f"r{number}" for number in range(5)}
    assert {one["result"]["type"] for one in answers.values()} == {"succeeded"}
    assert {path.name for path in tmp_path.iterdir()} == {"questions.jsonl", "answers.jsonl"}
    assert lines_of(at(gateway, "results", made[1]).stdout) == answers
    shown = at(gateway, "status", made[1]).stdout
    assert "questions.jsonl" in shown
    assert "ended" in shown
    completions = lines_of(at(gateway, "results", made[1], "--format", "openai").stdout)
    assert {one["response"]["body"]["object"] for one in completions.values()} == {"chat.completion"}


def test_what_failed_is_an_exit_of_one(gateway, openrouter, tmp_path):
    openrouter.script({"status": 400, "message": "this one is wrong", "when": {"user": "wrong"}, "times": 0})
    wrong = asked(messages=[{"role": "user", "content": "wrong"}])
    file = a_file(tmp_path, a=asked(), bad=wrong)
    done = at(gateway, "submit", file, "--wait", "--name", "two, one wrong")
    assert done.exit_code == 1, done.output
    assert "1 succeeded, 1 errored of 2" in done.output
    batch_id = re.search(r"msgbatch_\w+", done.output)
    assert batch_id is not None
    shown = at(gateway, "status", batch_id[0]).stdout
    for words in ("bad", "invalid_request_error", "this one is wrong", "two, one wrong"):
        assert words in shown
    as_json = at(gateway, "watch", batch_id[0], "--json")
    assert told(as_json, 1)["request_counts"]["errored"] == 1
    assert at(gateway, "watch", batch_id[0], "--quiet").stdout == ""


def test_other_forms_of_files(gateway, tmp_path):
    chat = {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": "Hi"}]}
    told_to = {"custom_id": "o", "method": "POST", "url": "/v1/chat/completions", "body": chat}
    (tmp_path / "o.jsonl.gz").write_bytes(gzip.compress(json.dumps(told_to).encode()))
    body = json.dumps({"requests": [{"custom_id": "w", "params": asked()}]}, indent=1)
    for name, source, typed in (("o", "o.jsonl.gz", None), ("w", "-", body)):
        done = at(gateway, "submit", source, "--output", "-", "--model", "small", typed=typed)
        assert done.exit_code == 0, done.output
        assert lines_of(done.stdout)[name]["result"]["type"] == "succeeded"


def test_holding_back_going_on_and_ending(gateway, openrouter, tmp_path):
    openrouter.script({"fault": "stall_headers", "when": {"user": "wait"}, "times": 0})
    waiting = {"messages": [{"role": "user", "content": "wait"}]}
    file = a_file(tmp_path, **many(3, **waiting))
    made = told(at(gateway, "submit", file, "--json"))
    assert made["processing_status"] == "in_progress"
    batch_id = made["id"]
    assert told(at(gateway, "pause", batch_id, "--json"))["paused"] is True
    assert "paused" in at(gateway, "status", batch_id).stdout
    assert "in progress" in at(gateway, "resume", batch_id).stdout
    listed = told(at(gateway, "list", "--limit", "1", "--json"))["data"]
    assert [one["id"] for one in listed] == [batch_id]
    assert batch_id in at(gateway, "list").stdout
    assert at(gateway, "delete", batch_id, "--yes").exit_code == 1
    assert "cancel" in at(gateway, "cancel", batch_id).stdout
    done = at(gateway, "watch", batch_id)
    assert done.exit_code == 1, done.output
    assert f"{batch_id} ended: 0 succeeded, " in done.output
    assert at(gateway, "delete", batch_id, typed="n\n").exit_code == 1
    assert f"{batch_id} is deleted." in at(gateway, "delete", batch_id, typed="y\n").stdout
    gone = at(gateway, "status", batch_id)
    assert gone.exit_code == 1
    assert "404" in gone.output


def test_control_c_while_waiting_says_how_to_come_back(gateway, openrouter, tmp_path):
    openrouter.script({"fault": "stall_headers", "when": {"user": "wait"}, "times": 0})
    waiting = asked(messages=[{"role": "user", "content": "wait"}])
    file = a_file(tmp_path, a=asked(), b=waiting)
    words = ("submit", file, "--wait", "--url", gateway.url)
    with at_terminal(tmp_path, "batch", *words) as (process, screen):
        seen = read_until(screen, b"1/2")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        seen += read_rest(screen)
    found = re.search(rb"Come back with:  headgate (batch watch (msgbatch_\w+) --url \S+)", seen)
    assert found is not None, seen
    assert b"Traceback" not in seen
    batch_id = found[2].decode()
    assert told(at(gateway, "status", batch_id, "--json"))["processing_status"] == "in_progress"
    at(gateway, "cancel", batch_id)
    assert run(*found[1].decode().split()[1:]).exit_code == 1


def test_batches_are_seen_by_their_client_only(openrouter_process, openrouter, tmp_path):
    keys = {"HEADGATE_API_KEYS": "one,two"}
    with gateway_on(openrouter_process, OPENROUTER_WIRE="messages", **keys) as keyed:
        made = told(at(keyed, "submit", a_file(tmp_path, a=asked()), "--json", "--client-key", "one"))
        assert at(keyed, "status", made["id"], **keys).exit_code == 0
        other = at(keyed, "status", made["id"], "--client-key", "two")
        assert other.exit_code == 1
        refused = at(keyed, "list")
        assert refused.exit_code == 1
        assert "--client-key" in refused.output


def test_schedules_need_prefect(gateway, tmp_path):
    file = a_file(tmp_path, a=asked())
    done = at(gateway, "schedule", file, "--cron", "0 2 * * *")
    assert done.exit_code == 1
    assert "without a Prefect server" in done.output


@pytest.mark.timeout(400)  # a Prefect server starts, on however busy a machine
def test_a_schedule_is_run_by_a_real_gateway(openrouter_process, openrouter, tmp_path):
    """The whole way: the command, the Prefect server, the process that looks, the one that executes."""
    import prefect  # noqa: F401 - it reads its settings as it is imported: not those of this gateway

    file = a_file(tmp_path, "nightly.jsonl", a=asked(), b=asked())
    given = {"OPENROUTER_API_KEY": "sk-or-v1-ours", "OPENROUTER_BASE_URL": openrouter_process.base_url}
    with GatewayProcess(OPENROUTER_WIRE="messages", **given) as gateway:
        api = httpx.get(f"{gateway.url}/health/detailed").json()["prefect"]["api_url"]
        until(lambda: answers(f"{api}/health"), 180)
        made = told(at(gateway, "schedule", file, "--cron", "0 2 1 1 *", "--json"))
        assert (made["name"], made["new"], made["file"]) == ("nightly", True, file)
        (listed,) = told(at(gateway, "schedules", "--json"))["data"]
        assert (listed["when"], listed["paused"]) == ("0 2 1 1 * (UTC)", False)
        due = f"{api}/deployments/{listed['id']}/create_flow_run"
        until(lambda: httpx.post(due, json={}).status_code == 201, 180)  # a busy server says 503
        results = tmp_path / "nightly-results"
        until(lambda: results.is_dir() and any(one.name[0] != "." for one in results.iterdir()), 180)
        (folder,) = results.iterdir()
        assert lines_of((folder / "results.jsonl").read_text()).keys() == {"a", "b"}
        assert "nightly" in at(gateway, "schedules").stdout
        assert at(gateway, "unschedule", "nightly").exit_code == 0
        assert told(at(gateway, "schedules", "--json"))["data"] == []
        assert at(gateway, "unschedule", "nightly").exit_code == 2


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False
