"""The tests' end of the fake OpenRouter: its process, its script, and what it saw."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.fakes.replies import Json

ROOT = Path(__file__).parents[2]


class FakeOpenRouter:
    """The fake in a process of its own.

    `base_url` is what OPENROUTER_BASE_URL takes; `anthropic_url` what ANTHROPIC_BASE_URL takes, to reach its
    `/messages` wire without a gateway.
    """

    module = "tests.fakes.openrouter"
    arguments: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, *self.arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = json.loads(self.process.stdout.readline())["port"]
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.communicate(timeout=60)
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _call(self, path: str, data: Json | None = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def script(self, *rules: Json, main_only: bool = False, lenient: bool = False) -> None:
        """Set the replies to come; see `replies` and `rules`. What was seen stays."""
        self._call("/_script", {"rules": list(rules), "main_only": main_only, "lenient": lenient})

    def reset(self) -> None:
        self._call("/_reset", {})

    def release(self) -> None:
        """Let the streams go on that a reply's `hold` stopped."""
        self._call("/_release", {})

    def requests(self, *paths: str) -> list[Json]:
        """List what was seen, in order: the fields of `rules.Seen`."""
        return [seen for seen in self._call("/_requests") if not paths or seen["path"] in paths]

    def wait_for(self, count: int, *paths: str, seconds: float = 60) -> list[Json]:
        """Wait until that many requests were seen."""
        limit = time.monotonic() + seconds
        while len(seen := self.requests(*paths)) < count:
            assert time.monotonic() < limit, f"{len(seen)} of {count} requests came in {seconds} s"
            time.sleep(0.02)
        return seen

    def wait_closed(self, path: str = "chat", *, seconds: float = 5) -> Json:
        """Wait until the last request on that wire was closed by the other side before its answer's end."""
        limit = time.monotonic() + seconds
        while not (seen := self.requests(path)) or not seen[-1]["closed_early"]:
            assert time.monotonic() < limit, f"the {path} request was not closed in {seconds} s"
            time.sleep(0.02)
        return seen[-1]


class FakeBackends(FakeOpenRouter):
    """Databricks, Anthropic and an OpenAI-compatible server in one process; settings that point at each."""

    module = "tests.fakes.backends"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def databricks(self) -> dict[str, str]:
        return {"DATABRICKS_HOST": self.root, "DATABRICKS_TOKEN": "dapi-of-the-test"}

    @property
    def anthropic(self) -> dict[str, str]:
        return {"ANTHROPIC_API_KEY": "sk-ant-of-the-test", "HEADGATE_ANTHROPIC_URL": self.root}

    @property
    def compatible(self) -> dict[str, str]:
        return {"OPENAI_COMPATIBLE_BASE_URL": f"{self.root}/compatible/v1"}


class FakeProviders(FakeOpenRouter):
    """The seven fake providers; `settings` point Headgate at them, with a key for each."""

    module = "tests.fakes.providers"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "ANTHROPIC_API_KEY": "key-anthropic",
            "ANTHROPIC_API_BASE": f"{self.root}/anthropic",
            "OPENAI_API_KEY": "key-openai",
            "OPENAI_BASE_URL": f"{self.root}/openai/v1",
            "GEMINI_API_KEY": "key-gemini",
            "GEMINI_API_BASE": f"{self.root}/gemini/v1beta",
            "COHERE_API_KEY": "key-cohere",
            "COHERE_API_BASE": f"{self.root}/cohere/v2/chat",
            "MISTRAL_API_KEY": "key-mistral",
            "MISTRAL_API_BASE": f"{self.root}/mistral/v1",
            "AZURE_API_KEY": "key-azure",
            "AZURE_API_BASE": f"{self.root}/azure",
            "AZURE_API_VERSION": "2024-10-21",
            "AWS_ACCESS_KEY_ID": "AKIDFAKE",
            "AWS_SECRET_ACCESS_KEY": "key-bedrock",
            "AWS_REGION_NAME": "us-east-1",
            "AWS_BEDROCK_RUNTIME_ENDPOINT": f"{self.root}/bedrock",
        }
