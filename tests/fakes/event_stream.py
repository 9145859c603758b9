"""AWS's binary event stream: a prelude with its CRC, headers, a payload, and a CRC of all of it."""

from __future__ import annotations

import struct
from binascii import crc32

_STRING = 7


def encode_message(headers: dict[str, str], payload: bytes) -> bytes:
    """Write one message whose headers are all strings."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    body = prelude + struct.pack("!I", crc32(prelude)) + head + payload
    return body + struct.pack("!I", crc32(body))


def _header(name: str, value: str) -> bytes:
    told = value.encode()
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(told)) + told
