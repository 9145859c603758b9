"""A database that Prefect has brought up to date: that takes its server longer than all else of its start."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

_kept: list[Path] = []


def keep(database: Path) -> None:
    """Take the database of a server that has just begun for those that are placed from now on."""
    if not _kept:
        kept = _new_folder() / "prefect.db"
        with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(kept)) as copy:
            live.backup(copy)
        _kept.append(kept)


def place(data: Path) -> None:
    """Put one where a Prefect server with its data in this folder finds it, unless it has one."""
    home = data / "prefect"
    if not (home / "prefect.db").exists():
        if not _kept:
            _kept.append(_made())
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(_kept[0], home / "prefect.db")


def _made() -> Path:
    folder = _new_folder()
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    given = environment | {"PREFECT_HOME": str(folder), "DO_NOT_TRACK": "1"}
    subprocess.run(command, env=given, check=True, stdout=subprocess.DEVNULL)
    return folder / "prefect.db"


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="headgate-test-prefect-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
