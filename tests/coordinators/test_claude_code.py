"""Checks for Claude Code: what is kept of them, and that web processes take turns."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from coordinators.claude_code import FRESH_SECONDS, ClaudeCode, summed
from coordinators.claude_code_checks import _png
from wire.errors import Overloaded


def checks_of(file):
    return ClaudeCode(None, None, file)


def result(model, age=0.0, not_found_out=()):
    at = datetime.now(UTC) - timedelta(seconds=age)
    return {"model": model, "checked_at": at.isoformat(), "not_found_out": list(not_found_out)}


def test_web_processes_take_turns(tmp_path):
    one, other = (checks_of(tmp_path / "kept.json") for _ in range(2))
    with one._held():
        with pytest.raises(Overloaded) as refused, other._held():
            pass
        assert refused.value.retry_after == 5
    with other._held():
        other._keep({"big": result("big")})
    assert set(one._known()) == {"big"}
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_kept_is_whole_fresh_and_bounded(tmp_path):
    checks = checks_of(tmp_path / "kept.json")
    checks._keep(
        {"big": result("big", FRESH_SECONDS + 1), "small": result("small", not_found_out=["vision"])}
    )
    assert checks._known() == {}
    checks._keep({f"m{number}": result(f"m{number}", number) for number in range(50)})
    assert set(checks._known()) == {f"m{number}" for number in range(20)}
    (tmp_path / "kept.json").write_text("{")
    assert checks._known() == {}


def test_the_percentage_leaves_out_what_could_not_be_found_out():
    told = [
        {"name": name, "outcome": name, "why": "because"} for name in ("works", "works", "missing", "unknown")
    ]
    assert summed(told)["compatibility_percent"] == 67
    assert summed(told[3:])["compatibility_percent"] is None
    assert summed(told)["missing"] == ["missing: because"]


def test_the_picture_is_a_png_that_is_red():
    data = _png()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    (length,) = struct.unpack(">I", data[33:37])
    rows = zlib.decompress(data[41 : 41 + length])
    assert rows == (b"\x00" + b"\xe0\x10\x10" * 32) * 32
    assert struct.unpack(">I", data[41 + length : 45 + length])[0] == zlib.crc32(data[37 : 41 + length])
