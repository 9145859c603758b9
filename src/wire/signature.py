"""A chat backend's `reasoning_details`, carried inside Anthropic's opaque fields.

A chat backend wants its reasoning back on the next turn as it gave it; Anthropic clients only keep a
thinking block's `signature` (and a redacted block's `data`), which they return untouched, 200 KB too. So the
details travel there: a mark, a checksum that covers the model as well, and compressed JSON, all of it in
base64 so that it looks like any other signature.
"""

from __future__ import annotations

import binascii
import hashlib
import zlib
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from wire.messages import Json

MARK = "hgA1"
"""Begins every signature made here. Four base64 characters, so that the whole stays valid base64."""

LARGEST = 8 * 1024 * 1024
"""Bytes of JSON that one signature may unfold to: what returns comes from a client, who may lie."""

_CHECKSUM = 12
_FASTEST = 1


def pack_details(details: list[Json], model: str) -> str:
    """Fold `details` of an answer by `model` into one signature.

    Details that are too deep or too large to come back give "", which unpacks to None: the thinking block is
    then dropped on the next turn, as a foreign one is.
    """
    try:
        # sorted: the same reply gives the same signature, streamed or whole
        plain = orjson.dumps(details, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # orjson.JSONEncodeError: nested deeper than 254
        return ""
    if len(plain) > LARGEST:
        return ""
    packed = zlib.compress(plain, _FASTEST)
    return MARK + binascii.b2a_base64(_checksum(packed, model) + packed, newline=False).decode("ascii")


def unpack_details(signature: str, model: str) -> list[Json] | None:
    """Restore what `pack_details` folded; None if it was not made here, is damaged, or for another model."""
    if not signature.startswith(MARK):
        return None
    try:
        data = binascii.a2b_base64(signature[len(MARK) :], strict_mode=True)
    except ValueError:  # binascii.Error, and letters outside ASCII
        return None
    packed = data[_CHECKSUM:]
    if data[:_CHECKSUM] != _checksum(packed, model):
        return None
    return _parsed(packed)


def _checksum(packed: bytes, model: str) -> bytes:
    return hashlib.blake2b(packed, digest_size=_CHECKSUM, person=_person(model)).digest()


def _person(model: str) -> bytes:
    """Squeeze the model's name into blake2b's 16 bytes of personalisation."""
    return hashlib.blake2b(model.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _parsed(packed: bytes) -> list[Json] | None:
    """Unfold compressed JSON; anything but a list of objects is None, for the checksum is no secret."""
    unfolding = zlib.decompressobj()
    try:
        details = orjson.loads(unfolding.decompress(packed, LARGEST))
    except (zlib.error, orjson.JSONDecodeError):
        return None
    if not isinstance(details, list) or not all(isinstance(one, dict) for one in details):
        return None
    return details
