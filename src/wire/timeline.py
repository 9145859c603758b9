"""A stored answer: the finished Message and its event timeline, as bytes and back.

    HGA1 | digest (16) | four lengths | facts | message | ticks | frames

Facts are JSON for listings, the message is JSON, ticks are milliseconds and lengths of the frames; all but
the facts are compressed, each by itself, so that a hit unpacks only what it sends. Everything is decoded
without trust: what was not written by this code, for this key, is Junk.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from wire.unfold import unfold_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire.messages import Json

LARGEST = 64 * 1024 * 1024
"""Bytes that one part may unpack to."""

_MAGIC = b"HGA1"
_LENGTHS = struct.Struct("<IIII")
_TICK = struct.Struct("<II")
_DIGEST_BYTES = 16
_HEAD_BYTES = len(_MAGIC) + _DIGEST_BYTES + _LENGTHS.size
_LEVEL = 1  # docs/decisions/0020-compression.md


class Junk(ValueError):
    """The bytes are no stored answer, or not the one that was asked for."""


class Tick(NamedTuple):
    """Bytes of a stream, whole events, and when they came: milliseconds after the first."""

    ms: int
    data: bytes


class Entry:
    """A stored answer. Its parts are unpacked when they are first asked for, which may raise Junk."""

    __slots__ = ("_frames", "_message", "_pieces", "_ticks", "_whole", "facts")

    def __init__(self, facts: Json, message: bytes, ticks: bytes, frames: bytes) -> None:
        self.facts = facts
        self._message = message
        self._ticks = ticks
        self._frames = frames
        self._whole: bytes | None = None
        self._pieces: list[Tick] | None = None

    @property
    def has_message(self) -> bool:
        """Whether the finished Message is known; of a stream that is not all understood it is not."""
        return bool(self._message)

    def message(self) -> bytes:
        """Give the finished Message as JSON; empty if only its stream is known."""
        if self._whole is None:
            self._whole = _unpacked(self._message)
        return self._whole

    def pieces(self, *, paced: bool = False) -> list[Tick]:
        """Give the stream in the pieces in which it came if it is `paced`, else in one piece.

        An answer that never was a stream is made one.
        """
        if self._pieces is None:
            if not self._frames:
                self._pieces = [Tick(0, self._unfolded())]
            elif paced:
                self._pieces = self._timeline()
            else:
                self._pieces = [Tick(0, _unpacked(self._frames))]
        return self._pieces

    def _unfolded(self) -> bytes:
        try:
            return unfold_bytes(orjson.loads(self.message()))
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise Junk("the message is none") from error

    def _timeline(self) -> list[Tick]:
        whole, packed = _unpacked(self._frames), _unpacked(self._ticks)
        if len(packed) % _TICK.size:
            raise Junk("half a tick")
        ticks, start = [], 0
        for ms, length in _TICK.iter_unpack(packed):
            ticks.append(Tick(ms, whole[start : start + length]))
            start += length
        if start != len(whole):
            raise Junk("the ticks are not those of the stream")
        return ticks


def encode(key: bytes, facts: Json, message: bytes, timeline: Sequence[Tick] = ()) -> bytes:
    """Write an answer for storage under `key`; `message` or `timeline` may be empty, not both."""
    ticks = b"".join(_TICK.pack(min(max(ms, 0), 0xFFFF_FFFF), len(data)) for ms, data in timeline)
    frames = b"".join(data for _, data in timeline)
    parts = [
        orjson.dumps(facts),
        *(zlib.compress(part, _LEVEL) if part else b"" for part in (message, ticks, frames)),
    ]
    rest = _LENGTHS.pack(*map(len, parts)) + b"".join(parts)
    return _MAGIC + _digest(key, rest) + rest


def decode(key: bytes, value: bytes) -> Entry:
    """Read an answer stored under `key`; raises Junk."""
    start = len(_MAGIC) + _DIGEST_BYTES
    if len(value) < _HEAD_BYTES or value[: len(_MAGIC)] != _MAGIC:
        raise Junk("not a stored answer")
    if value[len(_MAGIC) : start] != _digest(key, value[start:]):
        raise Junk("not what was stored under this key")
    lengths = _LENGTHS.unpack_from(value, start)
    if _HEAD_BYTES + sum(lengths) != len(value):
        raise Junk("the lengths are not those of the parts")
    parts, start = [], _HEAD_BYTES
    for length in lengths:
        parts.append(value[start : start + length])
        start += length
    facts, message, ticks, frames = parts
    if not message and not frames:
        raise Junk("nothing is stored")
    return Entry(facts_of(facts), message, ticks, frames)


def facts_of(text: bytes) -> Json:
    """Read the facts; raises Junk."""
    try:
        facts: Any = orjson.loads(text)
    except ValueError:
        raise Junk("the facts are no JSON") from None
    if not isinstance(facts, dict):
        raise Junk("the facts are no object")
    return facts


def _digest(key: bytes, rest: bytes) -> bytes:
    return hashlib.blake2b(rest, digest_size=_DIGEST_BYTES, key=key[:64]).digest()


def _unpacked(packed: bytes) -> bytes:
    """Unpack within the limit; nothing is the packed form of nothing."""
    if not packed:
        return b""
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(packed, LARGEST)
    except zlib.error:
        raise Junk("a part cannot be unpacked") from None
    if not unpacking.eof or unpacking.unused_data:
        raise Junk("a part is too large, or cut")
    return plain
