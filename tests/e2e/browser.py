"""Headless Chromium: a page as a picture, and as the text of its rendered DOM."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

# Virtual time passes as fast as the page lets it, so that a long budget costs little.
BUDGET_MILLISECONDS = 20_000


def chromium() -> str:
    """Give Chromium's path."""
    found = shutil.which("chromium")
    assert found, "the browser test needs Chromium: apt-get install chromium"
    return found


def _open(url: str, *args: str) -> str:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [
                chromium(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--window-size=1600,1000",
                f"--user-data-dir={profile}",
                f"--virtual-time-budget={BUDGET_MILLISECONDS}",
                *args,
                url,
            ],
            capture_output=True,
            text=True,
            timeout=180,  # on a busy machine; usually some seconds
            check=True,
        )
    return done.stdout


def screenshot(url: str, file: Path) -> None:
    _open(url, f"--screenshot={file}")


def rendered(url: str) -> str:
    """Give the page's DOM after its scripts have run."""
    return _open(url, "--dump-dom")
