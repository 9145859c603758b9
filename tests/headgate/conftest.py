"""What tests of the command line share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.fakes.gateway import OURS

if TYPE_CHECKING:
    from pathlib import Path


TOLD_TO_PREFECT = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_SERVER_ANALYTICS_ENABLED")
"""What a command that goes on to load Prefect sets in its own process: in a test, in all that follow."""


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of ours in the environment, now and after the test, and none in a file."""
    for name in TOLD_TO_PREFECT:
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that it is put back, or taken away
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
