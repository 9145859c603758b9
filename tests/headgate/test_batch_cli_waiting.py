"""`headgate batch` while it sends and waits: at gateways that restart, refuse or break off; at a terminal."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from headgate import batch_waiting
from headgate.batch_view import Stand, Watching
from headgate.shown import console
from tests.headgate.batch_commands import a_file, asked, many, run
from tests.headgate.terminals import at_terminal, read_rest, read_until

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.usefixtures("nothing_set")


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


def test_control_c_while_sending_leaves_nothing(tmp_path):
    file = a_file(tmp_path, **many(300, system="x" * 100_000))
    with socket.create_server(("127.0.0.1", 0)) as server:  # whose buffers take some, and nobody reads
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with at_terminal(tmp_path, "batch", "submit", file, "--url", url) as (process, screen):
            seen = read_until(screen, b"uploading")
            connection, _ = server.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            seen += read_rest(screen)
            connection.close()
    assert b"Stopped. Not all of the file was sent, so nothing was made." in seen
    assert b"Traceback" not in seen
