"""Claude Code, a gateway on each wire, and what they need."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.claude_code import ClaudeCode
from tests.e2e.gateways import Headgate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.handle import FakeOpenRouter

CLAUDE_CODE_VERSION = "2.1.330"
CACHE = Path(__file__).parents[2] / ".e2e"
# "direct" leaves Headgate out, to tell Claude Code's behaviour from the gateway's.
WIRES = os.environ.get("HEADGATE_E2E_WIRES", "messages,chat").split(",")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("kills") is None:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def claude_binary() -> Path:
    """Claude Code's binary: HEADGATE_E2E_CLAUDE's, or installed once into `.e2e/`."""
    given = os.environ.get("HEADGATE_E2E_CLAUDE")
    if given:
        return Path(given)
    folder = CACHE / f"claude-code-{CLAUDE_CODE_VERSION}"
    binary = folder / "node_modules" / ".bin" / "claude"
    if not binary.exists():
        npm = shutil.which("npm")
        assert npm, "the end-to-end tests need npm (apt-get install npm), or HEADGATE_E2E_CLAUDE"
        folder.mkdir(parents=True, exist_ok=True)
        package = f"@anthropic-ai/claude-code@{CLAUDE_CODE_VERSION}"
        subprocess.run([npm, "install", "--no-save", "--no-audit", package], cwd=folder, check=True)
    return binary


@pytest.fixture(scope="session")
def gateways(
    openrouter_process: FakeOpenRouter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Give the address of the gateway on a wire; each starts when it is first asked for."""
    with ExitStack() as stack:
        urls = {"direct": openrouter_process.anthropic_url}

        def url(wire: str) -> str:
            if wire not in urls:
                folder = tmp_path_factory.mktemp(f"headgate-{wire}")
                gateway = Headgate(folder, openrouter_process.base_url, wire, "--no-prefect")
                urls[wire] = stack.enter_context(gateway).url
            return urls[wire]

        yield url


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(wire: str) -> str:
    """What the fake calls the route that this wire's requests come by."""
    return "chat" if wire == "chat" else "messages"


@pytest.fixture
def claude(
    claude_binary: Path,
    gateways: Callable[[str], str],
    wire: str,
    tmp_path: Path,
    openrouter: FakeOpenRouter,
) -> ClaudeCode:
    return ClaudeCode(claude_binary, tmp_path, gateways(wire))
