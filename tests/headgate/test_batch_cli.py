"""`headgate batch`: what it takes, and what a plan says."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import threading
from typing import Any

import pytest

from headgate.batch_plan import EXACTLY, Limits, Plan
from tasks import batch_input
from tests.headgate.batch_commands import NOWHERE, a_file, asked, many, run, told

pytestmark = pytest.mark.usefixtures("nothing_set")


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
