"""The routes beside messages, as Claude Code uses them: token counts and the model picker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.e2e.terminal import Terminal

if TYPE_CHECKING:
    from tests.e2e.claude_code import ClaudeCode
    from tests.fakes.handle import FakeOpenRouter


def test_context_counts_tokens(claude: ClaudeCode, openrouter: FakeOpenRouter, wire: str) -> None:
    """`/context` asks for some 26 counts at once; Headgate counts itself where the upstream cannot."""
    session = claude.run("/context")
    (shown,) = [block["text"] for block in session.blocks("assistant", "text")]
    counted = dict(re.findall(r"\| (System prompt|System tools|Messages) \| ([\d.]+k?)", shown))
    assert {"System prompt", "System tools"} <= set(counted), shown
    assert session.code == 0
    assert float(counted["System tools"].removesuffix("k")) > 0
    if wire == "chat":
        assert openrouter.requests() == []


def test_context_uses_the_upstreams_count_where_it_has_one(
    claude: ClaudeCode, openrouter: FakeOpenRouter, wire: str
) -> None:
    openrouter.script({"when": {"path": "count_tokens"}, "body": {"input_tokens": 4321}, "times": 0})
    (shown,) = [block["text"] for block in claude.run("/context").blocks("assistant", "text")]
    asked = openrouter.requests("count_tokens")
    if wire == "chat":
        assert asked == []
    else:
        assert len(asked) > 10
        assert "4.3k" in shown


def test_model_picker_lists_the_gateways_models(claude: ClaudeCode, openrouter: FakeOpenRouter) -> None:
    claude.finish_onboarding()
    listed = {"when": {"path": "models"}, "times": 0, "body": CLAUDE_MODELS}
    openrouter.script(listed)
    environment = claude.interactive_environment(CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY="1")
    with Terminal([str(claude.binary)], claude.project, environment) as terminal:
        terminal.wait_for("shortcuts|bypass|for help|❯")
        terminal.type("/model")
        terminal.wait_for("/model")
        terminal.enter()
        screen = terminal.wait_for("Select model")
    print(screen)
    print([(r['path'],r['query']) for r in openrouter.requests()])
    assert 0


CLAUDE_MODELS = {
    "data": [
        {
            "id": "claude-fake-9",
            "type": "model",
            "display_name": "Claude Fake 9",
            "created_at": "2026-01-01T00:00:00Z",
        }
    ],
    "has_more": False,
    "first_id": "claude-fake-9",
    "last_id": "claude-fake-9",
}
