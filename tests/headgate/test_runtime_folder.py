from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from headgate import runtime_folder
from headgate.runtime_folder import RuntimeFolder, delete_old_folders


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folders_of_the_dead_go_and_no_others(temporary: Path) -> None:
    dead, alive, young = RuntimeFolder(), RuntimeFolder(), RuntimeFolder()
    for name in ("headgate-of-somebody-else", "headgate-test"):
        (temporary / name).mkdir()
    (temporary / "headgate-file").write_text("")
    (temporary / "headgate-link").symlink_to(dead.path)
    os.close(dead._lock)
    os.close(young._lock)
    for path in temporary.iterdir():
        if str(path) != young.path:
            os.utime(path, (0, 0))
    delete_old_folders()
    left = {path.name for path in temporary.iterdir()}
    assert not Path(dead.path).exists()
    assert {"headgate-of-somebody-else", "headgate-test", "headgate-file", "headgate-link"} <= left
    assert Path(alive.path).exists()
    assert Path(young.path).exists()
    alive.delete()
    assert not Path(alive.path).exists()


def test_another_users_folder_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = RuntimeFolder()
    os.close(dead._lock)
    os.utime(dead.path, (0, 0))
    monkeypatch.setattr(runtime_folder.os, "getuid", lambda: -1)
    delete_old_folders()
    assert Path(dead.path).exists()
