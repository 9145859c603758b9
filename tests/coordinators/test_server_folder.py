"""A server's folder: what it says, who may read it, and when it may go."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time

import pytest

from coordinators.server_folder import OldFolders, ServerFolder, server_folders


def create(log_dir, name):
    folder = ServerFolder(log_dir, name)
    folder.create(version="1", settings={"port": 8082})
    return folder


def test_it_says_what_was_started_and_is_for_its_owner_alone(tmp_path):
    folder = create(tmp_path / "logs", "0123abcd")
    assert folder.facts["id"] == "0123abcd"
    assert folder.facts["pid"] == os.getpid()
    assert folder.facts["start"].endswith("+00:00")
    assert folder.facts["settings"] == {"port": 8082}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "instance.json").stat().st_mode) == 0o600
    folder.release()


def test_it_is_alive_as_long_as_its_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from coordinators.server_folder import ServerFolder\n"
        f"ServerFolder(Path({str(tmp_path)!r}), 'aaaaaaaa').create(version='1', settings={{}})\n"
        "print('made', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"made\n"
        (folder,) = server_folders(tmp_path)
        assert folder.alive
        assert OldFolders(tmp_path, keep=0, days=0.0).delete() == 0
        process.kill()
    assert not folder.alive
    assert OldFolders(tmp_path, keep=0, days=1.0).delete() == 1
    assert server_folders(tmp_path) == []


@pytest.fixture
def five(tmp_path):
    """Five folders, the first one written to a day ago, the last one just now."""
    for days in range(5):
        folder = create(tmp_path, f"{days:08x}")
        folder.release()
        then = time.time() - days * 86400 - 60
        for path in (folder.path / "instance.json", folder.path):
            os.utime(path, (then, then))
    return tmp_path


def test_the_newest_are_kept(five):
    old = OldFolders(five, keep=3, days=100)
    assert old.delete() == 2
    assert [folder.id for folder in server_folders(five)] == ["00000000", "00000001", "00000002"]
    assert old.left() == 3


def test_those_not_written_to_for_days_go(five):
    assert OldFolders(five, keep=100, days=2).delete() == 3
    assert len(server_folders(five)) == 2


def test_what_is_no_servers_folder_is_left_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "server_link").symlink_to(tmp_path / "notes")
    assert OldFolders(tmp_path, keep=0, days=0).delete() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "server_link"]
    assert OldFolders(tmp_path / "nowhere", keep=0, days=0).delete() == 0
