"""Fixtures that more than one folder of tests asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.handle import FakeOpenRouter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def openrouter_process() -> Iterator[FakeOpenRouter]:
    with FakeOpenRouter() as fake:
        yield fake


@pytest.fixture
def openrouter(openrouter_process: FakeOpenRouter) -> FakeOpenRouter:
    """The fake OpenRouter, with an empty script and nothing seen yet."""
    openrouter_process.reset()
    return openrouter_process
