"""What Claude Code does when the upstream fails, seen through the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import views

if TYPE_CHECKING:
    from tests.e2e.claude_code import ClaudeCode
    from tests.fakes.handle import FakeOpenRouter

# Headgate sends a request three times before its client hears of it; the client then tries again itself.
FAILURES = 4


@pytest.mark.parametrize("status", [429, 529, 503])
def test_retries_end_well(
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str, status: int
) -> None:
    openrouter.script({"status": status, "message": "not now", "times": FAILURES}, {"text": "At last."})
    session = claude.run("Try.")
    assert session.result["result"] == "At last."
    assert len(openrouter.requests(path)) == FAILURES + 1
    retries = session.system("api_retry")
    shown = {429: 429, 529: 529, 503: 503 if wire == "direct" else 529}[status]
    assert [retry["error_status"] for retry in retries] == [shown] * (4 if wire == "direct" else 1)


def test_a_refused_upstream_key_is_told_at_once(
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str
) -> None:
    openrouter.script({"status": 403 if wire == "direct" else 401, "message": "No auth credentials", "times": 0})
    session = claude.run("Try.")
    assert session.result["is_error"] is True
    assert session.result["api_error_status"] == 403
    assert len(openrouter.requests(path)) == 1


OVERFLOWS = {
    "messages": "prompt is too long: 210000 tokens > 200000 maximum",
    "chat": "This endpoint's maximum context length is 200000 tokens. However, you requested about 210000 "
    "tokens (178000 of text input, 32000 in the output). Please reduce the length of either one.",
}


def test_overflow_makes_claude_code_compact(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    openrouter.script(
        {"name": "first", "text": "First answer. " * 50},
    )
    session = claude.run("FIRST QUESTION")
    openrouter.script(
        {"name": "too long", "status": 400, "message": OVERFLOWS[path]},
        {"name": "summary", "text": "<summary>They asked FIRST QUESTION.</summary>"},
        {"name": "again", "text": "Second answer.", "times": 0},
    )
    again = claude.run("SECOND QUESTION", "--resume", session.session_id)
    assert again.result["result"] == "Second answer."
    seen = openrouter.requests("chat", "messages")
    assert [request["answered_by"] for request in seen] == ["first", "too long", "summary", "again"]
    last = views.everything(seen[-1])
    assert "They asked FIRST QUESTION." in last
    assert "SECOND QUESTION" in last
    assert again.system("compact_boundary")


@pytest.mark.parametrize("fault", ["error_frame", "reset", "truncate"])
def test_failure_in_mid_stream(
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, fault: str
) -> None:
    openrouter.script(
        {"text": "This answer breaks off in the middle of it.", "fault": fault, "after": 5},
        {"text": "The whole answer."},
    )
    session = claude.run("Try.")
    print(session.events[1:], [r["body"].get("stream") for r in openrouter.requests(path)])
    assert 0


def test_failure_before_the_first_event(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str) -> None:
    faults = ["reset_before_headers", "reset_after_headers", "empty", "error_frame"]
    openrouter.script(*({"text": "never seen", "fault": fault, "after": 0} for fault in faults), {"text": "There."})
    session = claude.run("Try.")
    print(session.events[1:], [r["body"].get("stream") for r in openrouter.requests(path)])
    assert 0
