"""Looks for canaries in bytes: as they are, encoded, compressed, and in what SQLite holds.

A canary begins and ends with the same mark, which is of this run only: who finds the mark has found a canary,
and one that was cut at either end too. The mark and what is in between are letters and digits, which JSON,
URLs, HTML and Python's `repr` leave alone.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
import shutil
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_DEEPEST = 3
_MOST_UNPACKED = 32 * 2**20
_GZIP = b"\x1f\x8b\x08"
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_PACKED_IN_BASE64 = re.compile(rb"(?:H4sI|e[AFJN])[A-Za-z0-9+/_-]{20,}")


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


MARK = "hg" + _random(10)


def forms(text: str) -> dict[str, bytes]:
    """Give what a text of letters and digits can look like; each is long enough to be no accident."""
    plain = text.encode()
    found = {
        "plain": plain,
        "upper case": plain.upper(),
        "UTF-16": text.encode("utf-16-le"),
        "hexadecimal": plain.hex().encode(),
        "HEXADECIMAL": plain.hex().upper().encode(),
        "JSON escapes": "".join(f"\\u{ord(one):04x}" for one in text).encode(),
        "URL escapes": "".join(f"%{ord(one):02X}" for one in text).encode(),
        "backwards": plain[::-1],
    }
    for offset in range(3):  # where in a group of three bytes the text may begin
        begun = base64.b64encode(b"\0" * offset + plain)
        first, last = (-(-offset * 4 // 3)), (offset + len(plain)) * 4 // 3
        found[f"base64, {offset} on"] = begun[first:last]
    return found


@dataclass(frozen=True)
class Found:
    """A canary (or a piece of it) that was found: which, where, in what form, with what is around it."""

    name: str
    where: str
    form: str
    around: str


@dataclass
class Canaries:
    """The canaries by name, each a text that is unlike any other; `others` are secrets made elsewhere."""

    texts: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._marks = forms(MARK)

    def make(self, name: str, form: str = "{}") -> str:
        """Make one; `form` is what it looks like, `sk-or-v1-{}`. Gives it as it is to be sent."""
        self.texts[name] = text = f"{MARK}{_random(8)}{MARK}"
        return form.format(text)

    def search(self, data: bytes, where: str, depth: int = 0) -> Iterator[Found]:
        """Find canaries in the bytes, in what these were packed of, and in base64 within them."""
        for form, looked_for in self._marks.items():
            for at in _places(data, looked_for):
                yield Found(self._name(data, at, form, len(looked_for)), where, form, _around(data, at))
        for name, text in self.others.items():
            for form, looked_for in forms(text).items():
                yield from (Found(name, where, form, _around(data, at)) for at in _places(data, looked_for))
        if depth < _DEEPEST:
            for how, inner in _unpacked(data):
                yield from self.search(inner, f"{where}, {how}", depth + 1)

    def _name(self, data: bytes, at: int, form: str, size: int) -> str:
        """Say which one it is: by its middle, which is after or before the mark that was found."""
        near = data[max(0, at - 3 * size) : at + 4 * size]
        return next(
            (one for one, text in self.texts.items() if forms(_middle(text))[form] in near), "a piece"
        )


def _middle(text: str) -> str:
    return text.removeprefix(MARK).removesuffix(MARK)


def _places(data: bytes, looked_for: bytes) -> Iterator[int]:
    at = data.find(looked_for)
    while at >= 0:
        yield at
        at = data.find(looked_for, at + len(looked_for))


def _around(data: bytes, at: int) -> str:
    return data[max(0, at - 120) : at + 120].decode("utf-8", "backslashreplace")


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Give what is compressed within the bytes, wherever it begins, in base64 too."""
    for found in _PACKED.finditer(data):
        if inner := _inflated(data[found.start() : found.start() + _MOST_UNPACKED]):
            yield f"unpacked at {found.start()}", inner
    for found in _PACKED_IN_BASE64.finditer(data):
        text = found[0].translate(bytes.maketrans(b"-_", b"+/"))
        if inner := _inflated(base64.b64decode(text[: len(text) // 4 * 4])):
            yield f"base64 unpacked at {found.start()}", inner


def _inflated(data: bytes) -> bytes:
    """Give what deflate's stream at the beginning holds, as far as it goes; nothing if there is none."""
    unpacking = zlib.decompressobj(31 if data.startswith(_GZIP) else 15)
    try:
        return unpacking.decompress(data, _MOST_UNPACKED)
    except zlib.error:
        return b""


def files_below(*folders: Path) -> list[Path]:
    """List every file, sockets and links left out."""
    return sorted(
        path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )


def search_file(canaries: Canaries, path: Path, scratch: Path) -> Iterator[Found]:
    """Search a file's bytes, its name, and if it is a database every value too: long ones are in pieces."""
    where = str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # a server that runs tidies up
        return
    yield from canaries.search(where.encode(), f"the name of {where}")
    yield from canaries.search(data, where)
    if data.startswith(b"SQLite format 3\0"):
        yield from _search_database(canaries, path, scratch)


def _search_database(canaries: Canaries, path: Path, scratch: Path) -> Iterator[Found]:
    """Search the values of a copy, which nobody writes into."""
    copy = scratch / "copy.db"
    for end in ("", "-wal"):
        part, copied = path.with_name(path.name + end), copy.with_name(copy.name + end)
        copied.unlink(missing_ok=True)
        if part.exists():
            shutil.copyfile(part, copied)
    connection = sqlite3.connect(copy)
    try:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                for value in row:
                    if isinstance(value, bytes):
                        yield from canaries.search(value, f"{path}, table {table.decode()}")
    finally:
        connection.close()
        for left in scratch.glob("copy.db*"):
            left.unlink()


def told(found: Iterable[Found]) -> str:
    """Write what was found for a person, each place once."""
    lines = {(one.name, one.where, one.form): one.around for one in found}
    return "\n".join(
        f"{name} in {where} ({form}): {json.dumps(around)}"
        for (name, where, form), around in sorted(lines.items())
    )


def packings(text: str) -> dict[str, bytes]:
    """Give a text in every form and packing that the search must find; for the test of the search."""
    around = f'{{"a": "{text}", "b": 1}}'.encode()
    found = {
        name: b"before " + form + b" after" for name, form in forms(text).items() if name[:6] != "base64"
    }
    found |= {f"base64 of JSON, {n} on": base64.b64encode(b"x" * n + around) for n in range(3)}
    found |= {f"base64 for URLs, {n} on": base64.urlsafe_b64encode(b"x" * n + around) for n in range(3)}
    found["gzip"] = b"junk" + gzip.compress(around)
    found["zlib"] = b"junk" + zlib.compress(around, 1)
    found["gzip of base64"] = gzip.compress(base64.b64encode(around))
    found["base64 of gzip"] = b'{"signature": "' + base64.b64encode(gzip.compress(around)) + b'"}'
    found["cut at its end"] = around[: 7 + len(MARK) + 3]
    found["cut at its beginning"] = around[7 + len(MARK) + 3 :]
    return found
