"""The routes beside messages, as Claude Code uses them: token counts and the model picker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from tests.e2e.terminal import Terminal

if TYPE_CHECKING:
    from tests.e2e.claude_code import ClaudeCode
    from tests.fakes.handle import FakeOpenRouter


def counts_answered(gateway: str) -> float:
    """Give how many counts the gateway answered well, by its own metrics."""
    told = httpx.get(f"{gateway}/metrics").text
    line = re.compile(
        r'^headgate_requests_total\{(?=[^}]*flow="count_tokens")(?=[^}]*status="2xx")[^}]*\} (\S+)$',
        re.MULTILINE,
    )
    return sum(map(float, line.findall(told)))


def test_context_counts_tokens(claude: ClaudeCode, openrouter: FakeOpenRouter, wire: str) -> None:
    """`/context` asks for some 26 counts at once; Headgate counts itself where the upstream cannot."""
    before = counts_answered(claude.base_url) if wire != "direct" else 0
    session = claude.run("/context")
    (shown,) = [block["text"] for block in session.blocks("assistant", "text")]
    counted = dict(re.findall(r"\| (System prompt|System tools|Messages) \| ([\d.]+k?)", shown))
    assert {"System prompt", "System tools"} <= set(counted), shown
    assert session.code == 0
    assert float(counted["System tools"].removesuffix("k")) > 0
    if wire != "direct":  # OpenRouter cannot count
        assert openrouter.requests("chat", "messages", "count_tokens") == []
        # Claude Code estimates what it gets no count of: only the gateway knows that it counted
        assert counts_answered(claude.base_url) - before >= 10


def test_model_picker_lists_the_gateways_models(claude: ClaudeCode) -> None:
    claude.finish_onboarding()
    environment = claude.interactive_environment(CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY="1")
    with Terminal([str(claude.binary)], claude.project, environment) as terminal:
        terminal.wait_for("❯")
        terminal.type("/model")
        terminal.wait_for(r"❯ */model")
        terminal.type("\r")
        screen = terminal.wait_for(r"Select model[\s\S]*From gateway")
    assert re.search(r"Claude Sonnet 4 +From gateway", screen)
    assert re.search(r"Claude 3\.7 Sonnet +From gateway", screen)
