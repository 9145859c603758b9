"""The folder of captures: sealed, bounded, expiring, shared; and what becomes of what cannot be read."""

from __future__ import annotations

import os
import time

import orjson
import pytest

from coordinators.capture_seal import fingerprint, seal_of
from coordinators.captures import CaptureFolder, CaptureUnreadable, Content
from coordinators.capturing import whole_answer

KEY, OTHER = b"k" * 32, b"o" * 32
CONTENT = Content(
    {"anthropic-version": "2023-06-01", "x-openai-user": "two words"},
    b'{"model": "m", "messages": [{"role": "user", "content": "CANARY text"}]}',
    b'{"content": [{"type": "text", "text": "CANARY answer"}]}',
    "CANARY error",
    {"output_tokens": 3},
    [("call_backend-0", 1.5)],
)


def facts(name="req_1"):
    return {"id": name, "time": "2026-01-01T00:00:00+00:00", "flow": "messages", "status": 500}


@pytest.fixture
def folder(tmp_path):
    return CaptureFolder(tmp_path / "data" / "captures", most=10**6, hours=1)


def test_with_a_key_all_of_it_comes_back_and_none_of_it_is_on_the_disk(folder):
    folder.write(facts(), CONTENT, seal_of([KEY]))
    found = folder.find("req_1")
    assert (found.encrypted, found.id, found.facts["key"]) == (True, "req_1", fingerprint(KEY))
    assert folder.open(found, seal_of([KEY])) == CONTENT
    assert b"CANARY" not in found.path.read_bytes()
    assert found.path.stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert found.size == found.path.stat().st_size


def test_keys_can_be_changed(folder):
    folder.write(facts(), CONTENT, seal_of([OTHER]))
    found = folder.find("req_1")
    assert folder.open(found, seal_of([KEY, OTHER])) == CONTENT
    with pytest.raises(
        CaptureUnreadable, match=f"with the key {fingerprint(OTHER)}, and .* has {fingerprint(KEY)}"
    ):
        folder.open(found, seal_of([KEY]))
    with pytest.raises(
        CaptureUnreadable, match=f"encrypted: set HEADGATE_CAPTURE_KEY to the key {fingerprint(OTHER)}"
    ):
        folder.open(found, seal_of([]))


def test_without_a_key_only_the_shape_is_kept(folder):
    folder.write(facts(), CONTENT, seal_of([]))
    found = folder.find("req_1")
    assert b"CANARY" not in found.path.read_bytes()
    assert b"two words" not in found.path.read_bytes()
    for seal in (seal_of([]), seal_of([KEY])):
        content = folder.open(found, seal)
        assert orjson.loads(content.body)["messages"] == [
            {"role": "user", "content": "[11 characters, 1 lines]"}
        ]
        assert orjson.loads(content.answer)["content"][0]["text"] == "[13 characters, 1 lines]"
        assert (content.headers["anthropic-version"], content.error) == ("2023-06-01", None)
        assert (content.summary, content.steps) == (CONTENT.summary, CONTENT.steps)


def test_what_is_no_json_is_not_kept_redacted(folder):
    folder.write(facts(), Content({}, b"CANARY {", b"data: CANARY\n\n"), seal_of([]))
    content = folder.open(folder.find("req_1"), seal_of([]))
    assert (content.body, content.answer) == (None, None)
    folder.write(facts("req_2"), Content({}, b"\xff{", None), seal_of([KEY]))
    assert folder.open(folder.find("req_2"), seal_of([KEY])).body == b"\xff{"


@pytest.mark.parametrize("keys", [[KEY], []], ids=["encrypted", "redacted"])
def test_what_was_changed_or_damaged_is_not_believed(folder, keys):
    folder.write(facts(), CONTENT, seal_of(keys))
    path = folder.find("req_1").path
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(CaptureUnreadable, match="damaged"):
        folder.open(folder.find("req_1"), seal_of(keys))
    if keys:
        path.write_bytes(whole.replace(b'"status":500', b'"status":200'))
        with pytest.raises(CaptureUnreadable, match="damaged or was changed"):
            folder.open(folder.find("req_1"), seal_of(keys))
    path.write_bytes(b"nothing")
    with pytest.raises(CaptureUnreadable, match="damaged"):
        folder.find("req_1")
    assert list(folder.newest()) == []
    path.write_bytes(whole)
    found = folder.find("req_1")
    path.unlink()
    with pytest.raises(CaptureUnreadable, match="cannot be read"):
        folder.open(found, seal_of(keys))


@pytest.mark.parametrize("name", ["req_none", "../../etc/passwd", "*", ""])
def test_an_unknown_request_is_told_with_what_to_do(folder, name):
    with pytest.raises(CaptureUnreadable, match="headgate captures"):
        folder.find(name)


def test_an_id_that_is_no_file_name_is_refused(folder):
    with pytest.raises(OSError, match="no file's name"):
        folder.write(facts("../x"), CONTENT, seal_of([]))


def test_the_oldest_go_when_it_becomes_too_much(tmp_path):
    folder = CaptureFolder(tmp_path, most=8 * 1024, hours=1)
    for number in range(60):
        folder.write(facts(f"req_{number}"), CONTENT, seal_of([]))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 8 * 1024
        os.utime(folder.find(f"req_{number}").path)
    left = [one.id for one in folder.newest()]
    assert 5 < len(left) < 60
    assert set(left) == {f"req_{number}" for number in range(60 - len(left), 60)}


def test_what_expired_goes_and_so_do_left_overs(folder):
    folder.write(facts(), CONTENT, seal_of([]))
    old = folder.path / f"{int((time.time() - 3700) * 1000):013d}-req_old.capture"
    old.write_bytes(b'{"id":"req_old"}\n')
    partial = folder.path / "abc.partial"
    partial.write_bytes(b"half")
    assert folder.delete() == 1
    assert partial.exists()
    os.utime(partial, (1, 1))
    (folder.path / "notes.txt").write_bytes(b"somebody's")
    assert folder.delete() == 0
    assert sorted(path.suffix for path in folder.path.iterdir()) == [".capture", ".txt"]
    assert folder.left() == 1


def test_an_absent_folder_is_empty(folder):
    assert (folder.delete(), folder.left(), list(folder.newest())) == (0, 0, [])


def test_a_write_that_fails_leaves_nothing(folder, monkeypatch):
    folder.path.mkdir(parents=True)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(folder.path), "rename", full)
    with pytest.raises(OSError, match="No space"):
        folder.write(facts(), CONTENT, seal_of([KEY]))
    assert list(folder.path.iterdir()) == []


def test_a_stream_that_adds_up_to_nothing_is_kept_as_it_came():
    for text in (b"data: {broken\n\n", b'data: {"type":"message_stop"}\n\n', b""):
        assert whole_answer([text], "streaming") == text
        assert whole_answer([text], "universal") == text
