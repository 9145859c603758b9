"""Bytes that travel in JSON: base64 that is base64, and media types that tell the truth."""

from __future__ import annotations

import binascii

from wire.errors import InvalidRequest

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDINGS = {b"": 0, b"=": 1, b"==": 2}
_HEAD = 1368
"""Base64 characters that cover the first 1,024 bytes, in which a PDF's header may stand."""


def check_media(data: str, media_type: str, where: str) -> None:
    """Refuse `data` that is not base64, or whose first bytes are not those of `media_type`."""
    if not data:
        raise InvalidRequest(f"{where}.data: must not be empty")
    if not is_base64(data):
        raise InvalidRequest(f"{where}.data: not valid base64")
    head = binascii.a2b_base64(data[:_HEAD])
    if not looks_like(head, media_type):
        found = guess(head)
        told = f"they look like {found}" if found else "they do not look like it"
        raise InvalidRequest(f"{where}.media_type: the bytes are not {media_type}: {told}")


def is_base64(text: str) -> bool:
    """Tell whether `text` is strict base64: no line breaks, padded, nothing after the padding.

    Deletes the letters instead of decoding: three times as fast on the megabytes of a screenshot.
    """
    if len(text) % 4:
        return False
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        return False
    rest = raw.translate(None, _LETTERS)
    return rest in _PADDINGS and raw.endswith(rest)


def looks_like(head: bytes, media_type: str) -> bool:
    """Tell whether the first bytes of a file are those of `media_type`."""
    match media_type:
        case "image/png":
            return head.startswith(b"\x89PNG\r\n\x1a\n")
        case "image/jpeg":
            return head.startswith(b"\xff\xd8\xff")
        case "image/gif":
            return head.startswith((b"GIF87a", b"GIF89a"))
        case "image/webp":
            return head.startswith(b"RIFF") and head[8:12] == b"WEBP"
        case "application/pdf":
            return b"%PDF-" in head  # readers take junk before it, and producers rely on that
        case _:
            return False


def guess(head: bytes) -> str | None:
    """Name the media type that the first bytes of a file speak of."""
    kinds = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
    return next((kind for kind in kinds if looks_like(head, kind)), None)
