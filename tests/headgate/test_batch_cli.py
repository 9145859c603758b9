"""`headgate batch`: what it takes, and what it does at real gateways."""

from __future__ import annotations

import gzip
import http.server
import itertools
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from headgate import batch_schedule_cli, batch_waiting
from headgate.batch_plan import EXACTLY, Limits, Plan
from headgate.batch_view import Stand, Watching
from headgate.cli import app
from headgate.gateway_client import GatewayClient
from headgate.shown import console
from tasks import batch_input
from tests.fakes.gateway import GatewayProcess
from tests.fakes.waiting import until
from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.handle import FakeOpenRouter

NOWHERE = "http://127.0.0.1:9"
_numbers = itertools.count()
pytestmark = pytest.mark.usefixtures("nothing_set")


def run(*words: str, typed: str | bytes | None = None, **settings: str) -> Result:
    return CliRunner().invoke(app, ["batch", *words], input=typed, env=settings)


def told(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def asked(text: str = "Hi", **changed: Any) -> dict[str, Any]:
    said = f"{text} {next(_numbers)}"
    return {
        "model": "claude-opus-4-6",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": said}],
    } | changed


def a_file(tmp_path: Path, name: str = "requests.jsonl", /, **requests: dict[str, Any]) -> str:
    path = tmp_path / name
    lines = (json.dumps({"custom_id": one, "params": params}) for one, params in requests.items())
    path.write_text("\n".join(lines))
    return str(path)


def many(count: int, **changed: Any) -> dict[str, dict[str, Any]]:
    return {f"r{number}": asked(**changed) for number in range(count)}


# What it takes


COMMANDS = [
    "submit", "status", "watch", "results", "cancel", "pause", "resume", "delete", "list", "plan", "schedule",
    "schedules", "unschedule",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert command in run("--help").stdout
    if command != "plan":
        assert "--url" in done.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["submit"], "FILE"),
        (["submit", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["submit", "."], ".: Is a directory"),
        (["submit", "-", "--output", "."], "is a folder"),
        (["submit", "-", "--output", "no/where.jsonl"], "there is no folder no"),
        (["watch", "x", "--output", "no/where.jsonl"], "there is no folder no"),
        (["results", "x", "--format", "xml"], "format"),
        (["delete", "x", "--json"], "--yes"),
        (["list", "--limit", "-1"], "limit"),
        (["plan", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["plan", "-", "--latency", "0"], "latency"),
        (["schedule", "nowhere.jsonl", "--cron", "0 2 * * *"], "Nothing was scheduled"),
        (["schedule", "nowhere.jsonl"], "--cron"),
        (["schedule", "-", "--cron", "0 2 * * *"], "cannot be standard input"),
        (["schedule", "-", "--unread", "--cron", "0 2 * * *"], "cannot be standard input"),
    ],
)
def test_what_is_asked_wrongly_is_not_sent(words, why):
    url = [] if words[0] == "plan" else ["--url", NOWHERE]
    done = run(*words, *url)
    assert done.exit_code == 2
    assert why in " ".join(done.output.split())


def test_every_fault_of_a_file_is_named_and_nothing_is_sent(tmp_path):
    lines = ['{"custom_id": "a"', json.dumps({"custom_id": "b", "params": asked()}), "[]", *["{"] * 30]
    for source in ("-", str(tmp_path / "bad.jsonl")):
        (tmp_path / "bad.jsonl").write_text("\n".join(lines))
        done = run("submit", source, "--url", NOWHERE, typed="\n".join(lines))
        assert done.exit_code == 2
        shown = "standard input" if source == "-" else source
        for number in (1, 3, 21):
            assert f"{shown}: line {number}: " in done.output
        assert "and 12 faults more" in done.output
        assert "Nothing was sent." in done.output


def test_a_broken_gzip_file(tmp_path):
    packed = gzip.compress(json.dumps({"custom_id": "b", "params": asked()}).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-20])
    done = run("submit", "cut.jsonl.gz", "--url", NOWHERE)
    assert done.exit_code == 2
    assert "the gzip file is broken" in done.output


def test_a_pipe_is_read_once_and_closed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    line = json.dumps({"custom_id": "a", "params": asked()})
    writing = threading.Thread(target=(tmp_path / "pipe").write_text, args=(line,))
    writing.start()
    with batch_input.batch_input("pipe") as given:  # an unclosed file is an error here
        assert [one.custom_id for one in given.requests()] == ["a"]
    writing.join()


def test_a_copy_that_fails_leaves_no_file_open(tmp_path, monkeypatch):
    made = []

    def full(file: Any, kept: Any) -> None:
        made.append(kept)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    done = run("submit", "-", "--url", NOWHERE, typed="{}")
    assert (done.exit_code, [one.closed for one in made]) == (2, [True])
    assert "standard input: No space left on device" in done.output


def test_a_gateway_that_is_not_there(tmp_path):
    for words in (["submit", a_file(tmp_path, a=asked())], ["status", "x"], ["list"], ["schedules"]):
        done = run(*words, "--url", NOWHERE)
        assert done.exit_code == 1
        assert "headgate serve" in done.output


# What would be


def test_a_plan(tmp_path):
    requests = many(4, model="claude-sonnet-4-0", max_tokens=100) | {
        "x": asked(model="no-such", max_tokens=5)
    }
    done = run("plan", a_file(tmp_path, **requests), "--latency", "3", HEADGATE_BATCH_CONCURRENCY="2")
    assert done.exit_code == 0, done.output
    for words in (
        "5 requests", "claude-sonnet-4-0", "unknown", "Takes about 9s, bounded by 2 at once, 3 s each",
        "Assumed: an answer takes 3 s", "leaves out models whose price is unknown", "Nothing was sent.",
    ):  # fmt: skip
        assert words in done.stdout
    made = told(run("plan", a_file(tmp_path, **requests), "--json", HEADGATE_BATCH_RPM="1"))
    assert (made["requests"], made["tokens_out_at_most"], made["every_price_known"]) == (5, 405, False)
    assert (made["seconds"], made["bounded_by"]) == (300, "1 requests a minute")
    sonnet = made["models"]["claude-sonnet-4-0"]
    assert sonnet["cost_out"] == pytest.approx(400 * 15e-6)
    assert sonnet["cost_in"] == pytest.approx(sonnet["tokens_in"] * 3e-6)
    assert made["models"]["no-such"]["cost_in"] is None


def test_the_models_of_a_plan_are_those_of_the_gateway(tmp_path):
    file = a_file(tmp_path, a=asked(), b=asked())
    made = told(run("plan", file, "--json", "--model", "big", HEADGATE_BIG_MODEL="anthropic/claude-sonnet-4"))
    assert made["every_price_known"] is True
    assert made["models"]["big"]["cost_out"] == pytest.approx(18 * 15e-6)


def test_of_a_large_file_some_requests_stand_for_all(tmp_path):
    made = told(run("plan", a_file(tmp_path, **many(2 * EXACTLY + 1)), "--json"))
    assert made["counted_requests"] == pytest.approx(EXACTLY, rel=0.4)
    each = told(run("plan", a_file(tmp_path, **many(100)), "--json"))["tokens_in"] / 100
    assert made["tokens_in"] == pytest.approx(each * (2 * EXACTLY + 1), rel=0.1)
    shown = run("plan", a_file(tmp_path, **many(EXACTLY + 1)), HEADGATE_BATCH_HOURS="0.001")
    assert "Tokens in are estimated from" in shown.stdout
    assert "HEADGATE_BATCH_HOURS" in shown.stdout


def test_what_bounds_a_plan():
    plan = Plan(Limits(10, 0, 60, 1.0))
    assert plan.duration() == (0.0, "10 at once, 1 s each")


# Waiting


class Scripted(http.server.BaseHTTPRequestHandler):
    """Gives its answers one after the other; None closes the connection."""

    answers: list[Any]

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def do_GET(self):
        answer = self.answers.pop(0)
        if answer is None:
            return
        status, body = answer
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(*answers: Any) -> Iterator[str]:
    handler = type("One", (Scripted,), {"answers": list(answers)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def stand(succeeded: int, total: int = 4, **changed: Any) -> dict[str, Any]:
    counts = {
        "processing": total - succeeded,
        "succeeded": succeeded,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    status = "ended" if succeeded == total else "in_progress"
    return {"id": "msgbatch_1", "processing_status": status, "request_counts": counts, "paused": False,
            "input_tokens": 5, "output_tokens": 6, "cost": 0.25} | changed  # fmt: skip


def test_waiting_outlives_a_gateway_that_restarts(monkeypatch):
    monkeypatch.setattr(batch_waiting, "_LOOK_SECONDS", 0.01)
    away = (529, {"error": {"message": "the store is away"}})
    with answering((200, stand(1)), None, away, (200, stand(2, paused=True)), (200, stand(4))) as url:
        done = run("watch", "msgbatch_1", "--url", url)
    assert done.exit_code == 0, done.output
    for words in (
        "msgbatch_1 in progress: 1 of 4 done", "Waiting for it", "msgbatch_1 paused: 2 of 4 done",
        "msgbatch_1 ended: 4 succeeded of 4; 5 tokens in, 6 out, $0.2500",
        "headgate batch results msgbatch_1 --output FILE",
    ):  # fmt: skip
        assert words in done.output


def test_what_cannot_pass_ends_the_waiting(monkeypatch):
    monkeypatch.setattr(batch_waiting, "_LOOK_SECONDS", 0.01)
    gone = (404, {"error": {"message": "there is no batch msgbatch_1"}})
    with answering((200, stand(1)), gone) as url:
        assert "no batch" in run("watch", "msgbatch_1", "--url", url).output
    monkeypatch.setattr(batch_waiting, "_MOST_SILENCE", 0.0)
    with answering((200, stand(1)), None, None, None) as url:
        done = run("watch", "msgbatch_1", "--quiet", "--url", url)
    assert done.exit_code == 1
    assert "broke off" in done.output


def test_lines_say_the_pace_and_are_few(capsys, monkeypatch):
    times = iter(range(0, 4000, 1))
    clock = SimpleNamespace(monotonic=lambda: float(next(times)))  # of that module only
    monkeypatch.setattr("headgate.batch_view.time", clock)
    with Watching(console(stderr=True), quiet=False) as watching:
        for done in range(100):
            watching.show(Stand(stand(done, 1000)))
    lines = capsys.readouterr().err.splitlines()
    assert 4 <= len(lines) <= 6
    assert "1.0/s, 15m" in lines[-1]


def test_a_status_and_what_failed_steers_no_terminal():
    failures = [
        {"custom_id": "a", "error_type": "api_error", "message": "[red]no\x1b[2J", "error_hash": "abc"}
    ]
    made = stand(3, name="nightly\x1b", failures=failures, run_url="http://127.0.0.1:4200/runs/1")
    made |= {"created_at": "2026-01-02T03:04:05Z", "expires_at": "2126-01-02T03:04:05Z", "ended_at": None}
    with answering((200, made)) as url:
        done = run("status", "msgbatch_1", "--url", url)
    assert done.exit_code == 0, done.output
    for words in ("in progress", "nightly·", "[red]no·[2J", "ab", "http://127.0.0.1:4200/runs/1", "$0.2500"):
        assert words in done.output
    assert "\x1b" not in done.output


def test_results_that_break_off_leave_no_file(tmp_path):
    with answering((200, stand(4)), None) as url:
        done = run("results", "msgbatch_1", "--output", "out.jsonl", "--url", url)
    assert done.exit_code == 1
    assert "broke off" in done.output
    assert list(tmp_path.iterdir()) == []


def test_results_before_the_end(tmp_path):
    with answering((200, stand(3))) as url:
        done = run("results", "msgbatch_1", "--url", url)
    assert done.exit_code == 1
    assert f"headgate batch watch msgbatch_1 --url {url}" in done.output


def test_a_refusal_that_names_a_request_says_its_line(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n\n" + "\n\n".join(
        json.dumps({"custom_id": name, "params": asked()}) for name in "abc"
    ))  # fmt: skip
    refusal = (400, {"error": {"message": "requests.1.params: no"}})
    with answering(refusal) as url:
        done = run("submit", "a.jsonl", "--url", url)
    assert done.exit_code == 1
    assert "answers 400: requests.1.params: no (line 5 of the file)" in done.output
    with answering((200, {"id": "msgbatch_2"})) as url:
        assert run("submit", "a.jsonl", "--quiet", "--url", url).stdout == "msgbatch_2\n"


def test_results_into_a_pipe_that_closes(tmp_path):
    lines = json.dumps({"custom_id": "a", "result": {"type": "expired"}}) + "\n"
    with answering((200, stand(4)), (200, lines * 50_000)) as url:
        command = f"{sys.executable} -m headgate batch results msgbatch_1 --url {url} | head -c 5"
        words = ["bash", "-o", "pipefail", "-c", command]  # it fails if either of the two does
        done = subprocess.run(words, capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 5, b"")


def test_results_into_a_pipe_that_closes_end_as_otherwise(tmp_path):
    lines = json.dumps({"custom_id": "a", "result": {"type": "expired"}}) + "\n"
    told = stand(4) | {"request_counts": stand(3)["request_counts"] | {"processing": 0, "errored": 1}}
    with answering((200, told), (200, lines * 50_000)) as url:
        command = f"{sys.executable} -m headgate batch watch msgbatch_1 --quiet --output - --url {url}"
        piped = f"{command} | head -c 5; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", piped], capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stdout), done.stderr) == (1, 5, b"")


# At a terminal


@contextmanager
def at_terminal(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "headgate", "batch", *words], stdout=subprocess.PIPE, stderr=theirs,
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "140"},
    ) as process:  # fmt: skip
        os.close(theirs)
        with closing(os.fdopen(ours, "rb", buffering=0)) as screen:
            try:
                yield process, screen
            finally:
                process.kill()


def read_until(screen: Any, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += screen.read(4096)
    return seen


def read_rest(screen: Any) -> bytes:
    rest = b""
    try:
        while more := screen.read(4096):
            rest += more
    except OSError:  # what a terminal says that nobody holds any more
        pass
    return rest


def test_control_c_while_sending_leaves_nothing(tmp_path):
    file = a_file(tmp_path, **many(300, system="x" * 100_000))
    with socket.create_server(("127.0.0.1", 0)) as server:  # whose buffers take some, and nobody reads
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with at_terminal(tmp_path, "submit", file, "--url", url) as (process, screen):
            seen = read_until(screen, b"uploading")
            connection, _ = server.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            seen += read_rest(screen)
            connection.close()
    assert b"Stopped. Not all of the file was sent, so nothing was made." in seen
    assert b"Traceback" not in seen


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
    with at_terminal(tmp_path, *words) as (process, screen):
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
