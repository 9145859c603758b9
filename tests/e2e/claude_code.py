"""Claude Code as a test drives it: a fresh home, headless, and its answer read from `stream-json`."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Session:
    """What one headless run of Claude Code printed."""

    events: list[Json]
    code: int
    stderr: str

    @property
    def result(self) -> Json:
        """The last event: `result`, `is_error`, `subtype`, `num_turns`, `usage`, `structured_output` …"""
        assert self.events, self.stderr
        assert self.events[-1]["type"] == "result", self.events[-1]
        return self.events[-1]

    @property
    def session_id(self) -> str:
        return str(self.result["session_id"])

    def blocks(self, role: str, kind: str) -> list[Json]:
        """List the content blocks of one kind: the assistant's, or those that went back to it (`user`)."""
        messages = [event["message"] for event in self.events if event["type"] == role]
        contents = [message["content"] for message in messages if isinstance(message["content"], list)]
        return [block for content in contents for block in content if block["type"] == kind]

    def system(self, subtype: str) -> list[Json]:
        return [event for event in self.events if event["type"] == "system" and event["subtype"] == subtype]


class ClaudeCode:
    """One user's Claude Code: the binary, an empty home, a project folder, and the address it talks to."""

    def __init__(self, binary: Path, folder: Path, base_url: str) -> None:
        self.binary = binary
        self.folder = folder
        self.base_url = base_url
        self.project = folder / "project"
        for name in ("home", "config", "project"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Give the environment: nothing of the caller's but PATH, and no traffic but to `base_url`."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "CLAUDE_CONFIG_DIR": str(self.folder / "config"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_API_KEY": "sk-ant-e2e-not-a-key",
            **more,
        }

    def finish_onboarding(self) -> None:
        """Write the settings of someone who has started Claude Code in this project before."""
        known = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "projects": {str(self.project): {"hasTrustDialogAccepted": True}},
        }
        (self.folder / "config" / ".claude.json").write_text(json.dumps(known))

    def interactive_environment(self, **more: str) -> dict[str, str]:
        """Give the environment for a terminal: a token, since a new API key would first be asked about."""
        environment = self.environment(ANTHROPIC_AUTH_TOKEN="e2e-not-a-token", **more)
        del environment["ANTHROPIC_API_KEY"]
        return environment

    def run(self, prompt: str, *args: str, seconds: float = 60, **environment: str) -> Session:
        """Ask headless, all tools allowed, and wait for the end."""
        told = ["-p", prompt, "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
        done = subprocess.run(
            [self.binary, *told, *args],
            cwd=self.project,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Session(events, done.returncode, done.stderr)
