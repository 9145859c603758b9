"""Claude Code with other backends than OpenRouter's wires: Databricks, and OpenRouter through LiteLLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e import views
from tests.e2e.claude_code import ClaudeCode
from tests.e2e.gateways import Headgate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.handle import FakeBackends, FakeOpenRouter


@dataclass(frozen=True)
class Backend:
    """A backend as Claude Code meets it: the gateway's address, the fake behind it and its route."""

    url: str
    fake: FakeOpenRouter
    path: str
    model: str

    def seen(self, count: int) -> list[views.Json]:
        """Give the requests that reached the fake, all of them good and on the route that is meant."""
        seen = self.fake.requests()
        assert [request["complaint"] for request in seen] == [""] * len(seen)
        assert [request["path"] for request in seen] == [self.path] * count
        assert [request["body"]["model"] for request in seen] == [self.model] * count
        return seen


@pytest.fixture(scope="module")
def databricks(backends_process: FakeBackends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    settings = {"PROXY_BACKEND": "AZURE_DATABRICKS", **backends_process.databricks}
    folder = tmp_path_factory.mktemp("headgate-databricks")
    with Headgate(folder, "", "auto", "--no-prefect", **settings) as gateway:
        yield Backend(gateway.url, backends_process, "databricks messages", "databricks-claude-sonnet-4-5")


@pytest.fixture(scope="module")
def litellm(
    openrouter_process: FakeOpenRouter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("headgate-litellm")
    settings = {"PROXY_BACKEND": "LITELLM_OPENROUTER"}
    with Headgate(folder, openrouter_process.base_url, "auto", "--no-prefect", **settings) as gateway:
        yield Backend(gateway.url, openrouter_process, "chat", "anthropic/claude-sonnet-4.5")


@pytest.fixture(params=["databricks", "litellm"])
def backend(request: pytest.FixtureRequest) -> Backend:
    backend: Backend = request.getfixturevalue(request.param)
    backend.fake.reset()
    return backend


@pytest.fixture
def claude(claude_binary: Path, backend: Backend, tmp_path: Path) -> ClaudeCode:
    return ClaudeCode(claude_binary, tmp_path, backend.url)


def test_plain_answer(claude: ClaudeCode, backend: Backend) -> None:
    text = "The answer — in short — is 42.\n" * 20
    backend.fake.script({"text": text, "usage": {"input": 1234, "output": 99}})
    session = claude.run("What is the answer?", "--model", "claude-sonnet-4-5")
    assert session.code == 0
    assert session.result["result"] == text
    assert session.result["usage"]["input_tokens"] == 1234
    assert session.result["usage"]["output_tokens"] == 99
    (request,) = backend.seen(1)
    assert "What is the answer?" in views.everything(request)
    assert request["body"]["stream"] is True
    assert "sk-ant-e2e-not-a-key" not in str(request)


def test_tool_loop_writes_a_file(claude: ClaudeCode, backend: Backend) -> None:
    file = claude.project / "poem.txt"
    content = 'Roses are "red",\nviolets \\ blue — ünïcödé\n' * 30
    written = {"name": "Write", "id": "toolu_write", "input": {"file_path": str(file), "content": content}}
    # who is told to think begins with it
    begun = {"reasoning": "A poem it is.", "text": "I write it.", "tools": [written]}
    backend.fake.script(begun, {"text": "It is written."})
    session = claude.run("Write the poem.", "--model", "claude-sonnet-4-5")
    assert session.result["result"] == "It is written."
    assert session.result["num_turns"] == 2
    assert file.read_text() == content
    _, second = backend.seen(2)
    assert [(name, given) for _, name, given in views.tool_calls(second)] == [("Write", written["input"])]
    assert list(views.tool_results(second)) == [identity for identity, _, _ in views.tool_calls(second)]
