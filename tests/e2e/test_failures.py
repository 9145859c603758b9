"""What Claude Code does when the upstream fails, seen through the gateway."""

from __future__ import annotations

import subprocess
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
    shown = 529 if (status, wire) == (503, "chat") else status  # the messages wire tells errors unmodified
    assert [retry["error_status"] for retry in retries] == [shown] * (4 if wire == "direct" else 1)


def test_a_refused_upstream_key_is_told_at_once(
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str
) -> None:
    openrouter.script(
        {"status": 403 if wire == "direct" else 401, "message": "No auth credentials", "times": 0}
    )
    session = claude.run("Try.")
    assert session.result["is_error"] is True
    assert session.result["api_error_status"] == 403
    assert len(openrouter.requests(path)) == 1


OVERFLOWS = {
    "messages": "prompt is too long: 210000 tokens > 200000 maximum",
    "chat": "This endpoint's maximum context length is 200000 tokens. However, you requested about 210000 "
    "tokens (178000 of text input, 32000 in the output). Please reduce the length of either one.",
}


def test_overflow_makes_claude_code_compact(
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str
) -> None:
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
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str, fault: str
) -> None:
    """After an `error` event in mid-stream Claude Code asks once more, not streamed."""
    openrouter.script(
        {"text": "This answer breaks off in the middle of it. " * 5, "fault": fault, "after": 6},
        {"text": "The whole answer."},
    )
    session = claude.run("Try.")
    assert session.result["result"] == "The whole answer."
    assert [block["text"] for block in session.blocks("assistant", "text")] == ["The whole answer."]
    streamed = [request["body"].get("stream", False) for request in openrouter.requests(path)]
    assert streamed == [True, wire == "direct" and fault != "error_frame"]


def test_failure_in_mid_tool(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    """A call whose arguments broke off is never made."""
    file = claude.project / "never.txt"
    written = {"name": "Write", "input": {"file_path": str(file), "content": "half of it"}}
    openrouter.script({"tools": [written], "fault": "error_frame", "after": 6}, {"text": "The whole answer."})
    session = claude.run("Try.")
    assert session.result["result"] == "The whole answer."
    assert session.blocks("assistant", "tool_use") == []
    assert not file.exists()
    assert len(openrouter.requests(path)) == 2


def test_failures_before_the_first_event(
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str
) -> None:
    faults = ["reset_before_headers", "reset_after_headers", "empty", "error_frame"]
    failures = [{"text": "never seen", "fault": fault, "after": 0} for fault in faults]
    openrouter.script(*failures, {"text": "There."})
    session = claude.run("Try.")
    assert session.result["result"] == "There."
    assert len(openrouter.requests(path)) == 5
    if wire != "direct":
        assert len(session.system("api_retry")) == 1
        assert all(request["body"]["stream"] for request in openrouter.requests(path))


def test_leaving_closes_the_upstream(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    openrouter.script({"text": "never finished", "fault": "stall", "after": 4})
    with pytest.raises(subprocess.TimeoutExpired):
        claude.run("Try.", seconds=3)
    assert openrouter.wait_closed(path, seconds=2)["finished"] is False
