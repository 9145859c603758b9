"""`headgate cache`: what it takes, and what it does at real gateways."""

from __future__ import annotations

import http.server
import io
import itertools
import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from headgate.cache_cli import _age
from headgate.cache_tables import entries_table
from headgate.cache_warming import Line, parts, read_lines
from headgate.cli import app
from headgate.shown import plain, size, span
from tests.headgate.terminals import at_terminal, read_rest, read_until
from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeOpenRouter

CLIENT, ADMIN = "client-key-of-somebody", "admin-key-of-the-operator"
_numbers = itertools.count()
pytestmark = pytest.mark.usefixtures("nothing_set")


@pytest.fixture(scope="module")
def gateway_process(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    with gateway_on(
        openrouter_process, OPENROUTER_WIRE="messages", HEADGATE_FIRST_BYTE_TIMEOUT="60"
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_process: GatewayProcess, openrouter: FakeOpenRouter) -> GatewayProcess:
    return gateway_process


@pytest.fixture(scope="module")
def keyed(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    keys = {"HEADGATE_API_KEYS": CLIENT, "HEADGATE_ADMIN_KEYS": ADMIN}
    with gateway_on(openrouter_process, OPENROUTER_WIRE="messages", **keys) as gateway:
        yield gateway


def run(*words: str, typed: str | bytes | None = None, **settings: str) -> Result:
    return CliRunner().invoke(app, ["cache", *words], input=typed, env=settings)


def at(gateway: GatewayProcess, *words: str, **given: Any) -> Result:
    return run(words[0], "--url", gateway.url, *words[1:], **given)


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def ask(**changed: Any) -> dict[str, Any]:
    said = f"question {next(_numbers)} of {os.getpid()}"
    body = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": said}]}
    return body | changed


def store(gateway: GatewayProcess, tag: str, **changed: Any) -> None:
    headers = {"x-headgate-cache": f"on; tags={tag}"}
    assert httpx.post(f"{gateway.url}/v1/messages", json=ask(**changed), headers=headers).status_code == 200


def a_file(tmp_path: Path, *requests: dict[str, Any]) -> str:
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, requests)))
    return str(path)


# What it takes


@pytest.mark.parametrize("command", ["stats", "entries", "invalidate", "clear", "warm"])
def test_every_command_explains_itself(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    for option in ("--url", "--key", "--json"):
        assert option in done.stdout
    assert command in run("--help").stdout


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5m", 90), ("2h", 7200), ("7d", 604800), (" 3 s", 3), ("0", 0)]
)
def test_ages(text, seconds):
    assert _age(text) == seconds


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["entries", "--older-than", "soon"], "no age"),
        (["entries", "--younger-than", "-1h"], "no age"),
        (["entries", "--bodies"], "--json"),
        (["entries", "--limit", "-1"], "limit"),
        (["invalidate"], "headgate cache clear"),
        (["invalidate", "--tag", "a", "--json"], "--yes or --dry-run"),
        (["clear", "--json"], "--yes or --dry-run"),
        (["warm", "/nowhere/at/all.jsonl"], "/nowhere/at/all.jsonl"),
        (["warm", "--at-once", "65", "-"], "at-once"),
    ],
)
def test_what_is_asked_wrongly_is_not_sent(words, why):
    done = run(*words, "--url", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert why in done.output


def test_wrong_settings_are_said():
    done = run("stats", HEADGATE_PORT="ninety")
    assert done.exit_code == 2
    assert "HEADGATE_PORT" in done.output


def test_lines_that_are_wrong_are_all_named_and_nothing_is_asked():
    lines = ['{"model": "big"', "", json.dumps(ask()), "[]", '{"messages": 3}', *["{"] * 30]
    done = run("warm", "-", "--url", "http://127.0.0.1:9", typed="\n".join(lines))
    assert done.exit_code == 2
    for number in (1, 4, 5):
        assert f"line {number}: " in done.output
    assert "and 13 lines more" in done.output
    assert "Nothing was asked" in done.output
    assert "no request in it" in run("warm", "-", typed="\n\n").output


def test_files_are_sent_in_parts():
    large = b'{"x": "' + b"x" * 9_000_000 + b'"}'
    lines = [Line(n, b"{}") for n in range(1500)] + [Line(n, large) for n in range(1500, 1503)]
    assert [len(part) for part in parts(lines)] == [1000, 501, 1, 1]
    assert [line for part in parts(lines) for line in part] == lines
    assert list(parts([])) == []
    read, wrong = read_lines([b"\xff\n", b'{"messages": []}\r\n'])
    assert (len(read), len(wrong)) == (1, 1)


@pytest.mark.parametrize(
    ("shown", "as_read"),
    [
        (size(0), "0 B"), (size(2048), "2.0 KiB"), (size(5 * 1024**5), "5120.0 TiB"), (size(None), "-"),
        (span(59.9), "59s"), (span(61), "1m 1s"), (span(7300), "2h 1m"), (span(90000), "1d 1h"),
    ],
)  # fmt: skip
def test_figures(shown, as_read):
    assert shown == as_read


def test_what_clients_named_steers_no_terminal():
    entry = {
        "key": "ab" * 32, "model": "[red]m\x1b[2J", "tags": ["a\nb"], "age": 10, "ttl": 5,
        "bytes_stored": 5, "output_tokens": None, "stop_reason": None,
    }  # fmt: skip
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(entries_table([entry]))
    text = console.export_text()
    assert "[red]m·[2J" in text
    assert "a·b" in text
    assert "stale" in text
    assert "\x1b" not in plain("\x1b]0;title\x07").plain


# Who answers


def test_a_gateway_that_is_not_there():
    done = run("stats", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 1
    assert "headgate serve" in done.output
    assert "http://127.0.0.1:9" in run("stats", HEADGATE_HOST="127.0.0.1", HEADGATE_PORT="9").output
    for wrong in ("127.0.0.1:9", "ftp://x", "http://host:port"):
        assert "is no address" in run("stats", "--url", wrong).output
    assert "characters" in run("stats", "--url", "http://127.0.0.1:9", "--key", "ключ").output


class Strange(http.server.BaseHTTPRequestHandler):
    """Answers as no Headgate does; `status` of 0 closes the connection."""

    status, body = 200, b"<html>"

    def do_GET(self):
        if self.status:
            self.send_response(self.status)
            self.send_header("content-length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>", "no Headgate"),
        (404, b"<html>", "answers 404: is it a Headgate?"),
        (529, b'{"error": {"message": "the store is gone"}}', "answers 529: the store is gone"),
        (403, b'{"error": {"message": "not an admin"}}', "not an admin. Give an admin's key"),
        (403, b'{"error": {"message": "not this model"}}', "the gateway refuses: not this model\n"),
        (
            401,
            b'{"error": {"message": "not one of this gateway\'s"}}',
            "Give a client's key with --client-key",
        ),
        (0, b"", "broke off"),
    ],
)
def test_strange_answers(status, body, why):
    handler = type("One", (Strange,), {"status": status, "body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = run("stats", "--url", f"http://127.0.0.1:{server.server_port}")
        thread.join()
    assert done.exit_code == 1
    assert why in done.output


def test_keys_come_from_the_settings_or_are_given(keyed, openrouter):
    refused = at(keyed, "stats")
    assert refused.exit_code == 1
    assert "HEADGATE_ADMIN_KEYS" in refused.output
    assert "--key" in refused.output
    assert at(keyed, "stats", "--key", "wrong").exit_code == 1
    assert at(keyed, "stats", "--key", ADMIN).exit_code == 0
    both = {"HEADGATE_ADMIN_KEYS": ADMIN, "HEADGATE_API_KEYS": CLIENT}
    assert at(keyed, "stats", **both).exit_code == 0
    line = json.dumps(ask())
    one = at(keyed, "warm", "-", typed=line, HEADGATE_ADMIN_KEYS=ADMIN)
    assert one.exit_code == 1
    assert "--client-key" in one.output
    assert told(at(keyed, "warm", "-", "--json", typed=line, **both))["stored"] == 1
    assert told(at(keyed, "entries", "--json", "--client-key", CLIENT))["data"]
    assert ADMIN not in refused.output + one.output


# What it does


def test_stats(gateway):
    store(gateway, "stats")
    shown = at(gateway, "stats")
    assert shown.exit_code == 0
    for words in ("hit rate", "entries held", "Saved by hits", "prompt cache", "p99"):
        assert words in shown.stdout
    assert told(at(gateway, "stats", "--json"))["stored"] >= 1


def test_entries_in_pages(gateway):
    for _ in range(3):
        store(gateway, "pages")
    shown = at(gateway, "entries", "--tag", "pages", "--limit", "2")
    assert "2 entries" in shown.stdout
    assert "--offset 2" in shown.stdout
    rest = at(gateway, "entries", "--tag", "pages", "--offset", "2")
    assert "1 entries" in rest.stdout
    assert "There are more" not in rest.stdout
    every = told(at(gateway, "entries", "--tag", "pages", "--limit", "0", "--json", "--bodies"))
    assert every["next_offset"] is None
    assert [entry["message"]["content"][0]["text"] for entry in every["data"]] == ["Fine."] * 3
    one = every["data"][0]["key"]
    found = told(at(gateway, "entries", "--entry", one, "--younger-than", "1h", "--model", "claude-opus-4-6",
                    "--pattern", "pag*", "--older-than", "0", "--json"))  # fmt: skip
    assert [entry["key"] for entry in found["data"]] == [one]
    assert "message" not in found["data"][0]


def count(gateway: GatewayProcess, tag: str) -> int:
    return len(told(at(gateway, "entries", "--tag", tag, "--json"))["data"])


def test_invalidating_asks_first(gateway):
    for _ in range(2):
        store(gateway, "gone")
    store(gateway, "stays")
    dry = at(gateway, "invalidate", "--tag", "gone", "--dry-run")
    assert "2 entries would be deleted" in dry.output
    assert told(at(gateway, "invalidate", "--tag", "gone", "--dry-run", "--json"))["matched"] == 2
    no = at(gateway, "invalidate", "--tag", "gone", typed="n\n")
    assert no.exit_code == 1
    assert "2 entries to delete" in no.output
    assert count(gateway, "gone") == 2
    one = told(at(gateway, "entries", "--tag", "gone", "--json"))["data"][0]
    assert "1 entry deleted" in at(gateway, "invalidate", "--entry", one["key"], "--yes").output
    yes = at(gateway, "invalidate", "--tag", "gone", "--tenant", one["tenant"], typed="y\n")
    assert "1 entry deleted" in yes.output
    nothing = at(gateway, "invalidate", "--tag", "gone")
    assert (nothing.exit_code, nothing.output.strip()) == (0, "0 entries to delete, 0 B")
    assert count(gateway, "stays") == 1


def test_clearing(gateway):
    store(gateway, "cleared")
    assert "would be deleted" in at(gateway, "clear", "--dry-run").output
    assert at(gateway, "clear", typed="\n").exit_code == 1
    assert count(gateway, "cleared") == 1
    assert told(at(gateway, "clear", "--yes", "--json"))["deleted"] >= 1
    assert told(at(gateway, "stats", "--json"))["held"]["entries"] == 0


def test_warming_a_file(gateway, openrouter, tmp_path):
    openrouter.script(
        {"status": 400, "message": "this one is wrong", "when": {"user": "wrong"}, "times": 0},
        {"text": "cut", "stop": "max_tokens", "when": {"user": "long"}, "times": 0},
    )
    twice = ask()
    wrong = ask(messages=[{"role": "user", "content": "wrong"}])
    file = a_file(tmp_path, twice, wrong, ask(messages=[{"role": "user", "content": "long"}]), twice)
    first = at(gateway, "warm", file, "--tag", "faq", "--tag", "b", "--ttl", "2h", "--at-once", "1")
    assert first.exit_code == 1
    assert "line 2: invalid_request_error" in first.output
    assert (
        "4 of 4 done: 1 stored, 1 there before, 1 answered but not fit to be stored, 1 failed" in first.output
    )
    (entry,) = told(at(gateway, "entries", "--tag", "faq", "--json"))["data"]
    assert (entry["ttl"], entry["tags"]) == (7200, ["b", "faq"])
    again = at(gateway, "warm", file, "--json")
    assert again.exit_code == 1
    counted = json.loads(again.stdout)
    assert (counted["present"], counted["failed"], counted["errors"][0]["line"]) == (2, 1, 2)
    fresh = told(at(gateway, "warm", "-", "--refresh", "--json", typed=json.dumps(twice)))
    assert (fresh["stored"], fresh["present"]) == (1, 0)
    plainly = at(gateway, "warm", "-", typed=json.dumps(twice))
    assert plainly.output.strip() == "1 of 1 done: 0 stored, 1 there before."


def test_the_gateway_refuses_what_it_does_not_take(gateway):
    done = at(gateway, "warm", "-", "--tag", "no spaces", typed=json.dumps(ask()))
    assert done.exit_code == 1
    assert "cache.tags" in done.output


def test_control_c_says_what_was_done(gateway, openrouter, tmp_path):
    openrouter.script({"fault": "stall_headers", "when": {"user": "wait"}, "times": 0})
    file = a_file(tmp_path, ask(), ask(messages=[{"role": "user", "content": "wait"}]), ask())
    words = ["cache", "warm", file, "--url", gateway.url, "--at-once", "1", "--json"]
    with at_terminal(tmp_path, *words) as (process, screen):
        seen = read_until(screen, b"1/3")
        openrouter.wait_for(2, "messages")
        process.send_signal(signal.SIGINT)
        counted, _ = process.communicate(timeout=30)
        seen += read_rest(screen)
    assert process.returncode == 130
    assert b"Stopped. 1 of 3 done: 1 stored" in seen
    assert b"Traceback" not in seen
    assert (json.loads(counted)["done"], json.loads(counted)["total"]) == (1, 3)
