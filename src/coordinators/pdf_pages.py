"""How many pages a PDF has, as near as one can tell without reading it."""

from __future__ import annotations

import binascii
import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Anthropic's page on PDF support says that a page takes 1,500 to 3,000 tokens of text, by its density, and is
# shown to the model as an image besides. It gives no formula; this is the middle of what it says. Counts that
# others published for Claude are 1,600 for a scanned page and 2,100 to 2,500 for a page of text or tables.
TOKENS_A_PAGE = 2250

_BYTES_A_PAGE = 64 * 1024
"""Where no page is found in a file: it is encrypted, or not what it says. Pages of text take 10 to 100 KB."""

_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_MOST_PACKED = 300
_MOST_BYTES = 1024 * 1024
_HEAD = 500
"""How far its bytes may be from a packed object's type."""


def pdf_tokens(data: str) -> int:
    """Estimate the tokens of a PDF given as base64; one page at least."""
    try:
        raw = binascii.a2b_base64(data)
    except binascii.Error:
        return TOKENS_A_PAGE
    return TOKENS_A_PAGE * pages(raw)


def pages(raw: bytes) -> int:
    """Count the objects that are pages, also those in packed objects; by the size if there are none."""
    found = len(_PAGE.findall(raw))
    if not found:
        found = sum(len(_PAGE.findall(inner)) for inner in _packed(raw))
    return found or 1 + len(raw) // _BYTES_A_PAGE


def _packed(raw: bytes) -> Iterator[bytes]:
    """Inflate the packed objects, so many and so much of each that no file takes long."""
    at = -1
    for _ in range(_MOST_PACKED):
        at = raw.find(b"/ObjStm", at + 1)
        if at < 0:
            return
        start = raw.find(b"stream", at, at + _HEAD)
        if start >= 0:
            yield _unpacked(raw[start + 6 : start + _MOST_BYTES])


def _unpacked(told: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(told.lstrip(b"\r\n"), _MOST_BYTES)
    except zlib.error:
        return b""
