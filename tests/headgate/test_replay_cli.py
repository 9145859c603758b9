"""`headgate captures` and `headgate replay`: what they list, show and refuse, and how they draw it."""

from __future__ import annotations

import io
import json
import os

import orjson
import pytest
from rich.console import Console
from typer.testing import CliRunner

from coordinators.capture_seal import seal_of
from coordinators.captures import CaptureFolder, Content
from headgate import replaying
from headgate.cli import app
from headgate.replay_tables import answer_text, comparison
from headgate.settings import SettingsError, load_settings
from tests.fakes.gateway import OURS

KEY = "c2VjcmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM"
ASK = {"model": "openai/gpt-5", "max_tokens": 50, "messages": [{"role": "user", "content": "The prompt."}]}
MESSAGE = {"content": [{"type": "text", "text": "The answer."}]}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path / "data"))
    return CaptureFolder(tmp_path / "data" / "captures", most=10**6, hours=72)


def run(*words, **settings):
    return CliRunner().invoke(app, [*words], env=settings)


def keep(
    folder, name="req_1", body=None, answer=MESSAGE, keys=(b"secret-key-of-32-bytes-for-tests",), **facts
):
    told = {
        "id": name, "time": "2026-11-27T12:00:00.000+00:00", "flow": "messages", "format": "anthropic",
        "model": "openai/gpt-5", "backend": "openrouter", "status": 529, "ms": 34.5, "error": "Overloaded",
        **facts,
    }  # fmt: skip
    raw = orjson.dumps(ASK) if body is None else body
    content = Content(
        {"anthropic-version": "2023-06-01"}, raw, orjson.dumps(answer) if answer else None, "busy",
        {"attempts": 1}, [("call_backend-0", 20.5)],
    )  # fmt: skip
    folder.write(told, content, seal_of(keys))


def test_a_new_key_is_one(monkeypatch):
    made = run("captures", "--new-key").stdout.strip()
    monkeypatch.setenv("HEADGATE_CAPTURE_KEY", made)
    assert len(load_settings().capture_keys[0]) == 32
    assert run("captures", "--new-key").stdout.strip() != made


def test_nothing_kept_is_said_with_what_to_do():
    done = run("captures")
    assert done.exit_code == 0
    assert "Set HEADGATE_CAPTURE=errors" in done.stdout
    assert "Set" not in run("captures", HEADGATE_CAPTURE="errors").stdout


def test_what_is_kept_is_listed(folder):
    keep(folder, "req_1")
    keep(folder, "req_2", keys=(), model="evil\x1b[31m", backend=None)
    done = run("captures")
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert "redacted" in lines[1]
    assert "req_2" in lines[1]
    assert lines[2].split()[:7] == [
        "2026-11-27",
        "12:00:00",
        "req_1",
        "messages",
        "openai/gpt-5",
        "openrouter",
        "529",
    ]
    assert "There are 1 more" in run("captures", "--limit", "1").stdout
    told = json.loads(run("captures", "--json").stdout)
    assert [one["id"] for one in told] == ["req_2", "req_1"]
    assert told[0]["bytes"] == folder.find("req_2").size


def test_one_is_shown(folder):
    keep(folder)
    done = run("captures", "req_1", HEADGATE_CAPTURE_KEY=KEY)
    for said in ("The prompt.", "The answer.", "busy", "anthropic-version: 2023-06-01", "openrouter"):
        assert said in done.stdout
    told = json.loads(run("captures", "req_1", "--json", HEADGATE_CAPTURE_KEY=KEY).stdout)
    assert (told["body"], told["first"]["answer"]) == (ASK, "The answer.")
    keep(folder, "req_2", body=b"{no json", answer=None)
    told = json.loads(run("captures", "req_2", "--json", HEADGATE_CAPTURE_KEY=KEY).stdout)
    assert (told["body"], told["first"]["answer"]) == ("{no json", None)


def test_a_redacted_one_is_said_to_be(folder):
    keep(folder, keys=())
    done = run("captures", "req_1")
    assert "It is redacted (no HEADGATE_CAPTURE_KEY was set)" in done.stderr
    assert "[11 characters, 1 lines]" in done.stdout
    assert "Overloaded (its text is not kept)" in done.stdout
    keep(folder, "req_2", body=b"{no json", keys=())
    assert "(the body is not kept)" in run("captures", "req_2").stdout


@pytest.mark.parametrize("words", [["captures", "req_9"], ["replay", "req_9"]])
def test_an_unknown_request_is_refused(words):
    done = run(*words)
    assert done.exit_code == 1
    assert "no request 'req_9' is kept" in done.stderr
    assert "headgate captures" in done.stderr


@pytest.mark.parametrize(
    ("key", "said"), [("", "set HEADGATE_CAPTURE_KEY to the key"), ("A" * 43, "put the old key into it")]
)
def test_a_missing_or_other_key_is_said(folder, key, said):
    keep(folder)
    done = run("replay", "req_1", HEADGATE_CAPTURE_KEY=key)
    assert done.exit_code == 1
    assert said in done.stderr


def test_a_wrong_key_is_a_wrong_setting():
    done = run("replay", "req_1", HEADGATE_CAPTURE_KEY="short")
    assert done.exit_code == 2
    assert "HEADGATE_CAPTURE_KEY" in done.stderr


async def test_a_named_prefect_server_must_answer(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(SettingsError, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api"):
        async with replaying.prefect_server(load_settings(), print):
            pass


async def test_a_named_prefect_server_is_taken(monkeypatch, prefect_server):
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.url)
    async with replaying.prefect_server(load_settings(), print) as where:
        assert where == replaying.Where(prefect_server.url, prefect_server.ui_url, "PREFECT_API_URL")


# -- how it is drawn
FIRST = {
    "status": 529, "backend": "openrouter", "model": "m", "ms": 34.5, "ttft_ms": None, "error": "busy\x1b[2J",
    "summary": {"attempts": 3}, "steps": [("validate_request-0", 0.1), ("call_backend-0", 20.5)],
    "answer": None,
}  # fmt: skip
AGAIN = {
    "status": 200, "backend": "other", "model": "n", "ms": 1234.5, "ttft_ms": 20.0, "error": None,
    "summary": {"attempts": 1, "output_tokens": 30, "cost_usd": 0.5},
    "steps": [("validate_request-0", 8.0), ("call_backend-0", 25.0), ("call_backend-1", 26.0)],
    "answer": "word " * 1000,
}  # fmt: skip


def drawn(first, again, width):
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in comparison(first, again, width):
        console.print(part)
    return out.getvalue()


def test_two_answers_stand_side_by_side_where_there_is_room():
    text = drawn(FIRST, AGAIN, 120)
    assert "\x1b" not in text
    rows = {cells[1].strip(): [one.strip() for one in cells[2:4]] for cells in (
        line.replace("┃", "│").split("│") for line in text.splitlines()
    ) if len(cells) > 4}  # fmt: skip
    assert rows["status"] == ["529", "200"]
    assert rows["whole"] == ["34.5 ms", "1,234.5 ms"]
    assert rows["first byte"] == ["-", "20.0 ms"]
    assert rows["call_backend"] == ["20.5 ms", "25.0 ms"]
    assert rows["call_backend-1"] == ["-", "26.0 ms"]
    assert rows["cost usd"] == ["-", "0.5"]
    assert "first byte" not in drawn(FIRST, AGAIN | {"ttft_ms": None}, 120)
    assert "1000 characters more: --json" in text


def test_on_a_narrow_terminal_they_stand_one_below_the_other():
    lines = [line.strip() for line in drawn(FIRST, FIRST, 60).splitlines()]
    assert lines.index("First") < lines.index("Again")
    assert all(len(line) <= 60 for line in lines)
    assert "(no answer was kept)" in drawn(FIRST | {"error": None}, AGAIN, 60)
    assert "no\nit is" in drawn(FIRST | {"error": "no", "answer": "it is"}, AGAIN, 60)


CALL = {"name": "f", "arguments": "{}"}
ANSWERS = {
    "message": (MESSAGE, "The answer."),
    "blocks": (
        {"content": [
            {"type": "thinking", "thinking": "Hm."}, {"type": "tool_use", "name": "f", "input": {"a": 1}},
            {"type": "document"},
        ]},
        '(thinking) Hm.\nf({"a":1})\n(document)',
    ),
    "completion": (
        {"choices": [{"message": {"content": "Yes.", "tool_calls": [{"function": CALL}]}}]},
        "Yes.\nf({})",
    ),
    "count": ({"input_tokens": 3}, '{"input_tokens":3}'),
    "error": ({"error": {"message": "busy"}}, "busy"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS)
def test_what_an_answer_says(answer, said):
    assert answer_text(orjson.dumps(answer)) == said


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n', "a"),
        (
            (
                b'data: {"kind":"text","delta":{"text":"a"}}\n\n'
                b'data: {"kind":"reasoning","delta":{"text":"b"}}\n\n'
            ),
            "a",
        ),
        (b'data: {"kind":"error","delta":{"message":"no"}}\n\n', "\n(error) no"),
        (b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n', "\n(error) no"),
        (b"data: {broken\n\n", "data: {broken\n\n"),
    ],
)
def test_what_a_stream_says(stream, said):
    assert answer_text(stream) == said
    assert answer_text(None) is None
