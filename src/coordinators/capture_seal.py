"""How a captured request lies on the disk: encrypted with a key, or, without one, redacted."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import orjson

from coordinators.captures import CaptureUnreadable, Content
from wire.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_LEVEL = 1  # of zlib: conversations shrink to a quarter at once, and little more for much more time


class Seal(Protocol):
    """Closes what was captured, and opens it again."""

    def close(self, facts: dict[str, Any], content: Content) -> tuple[bytes, bytes]:
        """Give the file's first line and the rest."""
        ...

    def open(self, head: bytes, sealed: bytes) -> Content:
        """Give what was captured; raises CaptureUnreadable."""
        ...


def seal_of(keys: Sequence[bytes]) -> Seal:
    """Give the seal: encrypting with the first of these keys of 32 bytes, or redacting if there is none."""
    return Encrypting(keys) if keys else Redacting()


class Redacting:
    """Keeps the shape of what was captured, as JSON that people can read; what is no JSON not at all."""

    def close(self, facts: dict[str, Any], content: Content) -> tuple[bytes, bytes]:
        """Give the first line, and the redacted content."""
        told = {
            "headers": {name: redacted(value, "id") for name, value in content.headers.items()},
            "body": _redacted(content.body),
            "answer": _redacted(content.answer),
            "summary": content.summary,
            "steps": content.steps,
        }
        return orjson.dumps(facts | {"sealed": "redacted"}), orjson.dumps(told, default=str)

    def open(self, head: bytes, sealed: bytes) -> Content:
        """Give what was captured, redacted; what is encrypted has no key here."""
        facts = orjson.loads(head)
        if facts.get("sealed") != "redacted":
            raise CaptureUnreadable(
                f"request {facts['id']} is encrypted: set HEADGATE_CAPTURE_KEY to the key {facts.get('key')} "
                "that the server had"
            )
        return _read_redacted(sealed)


class Encrypting:
    """Encrypts with the first of the keys; opens what any of them encrypted, and what is redacted."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {fingerprint(key): key for key in keys}
        self._first = fingerprint(keys[0])
        self._cipher: AESGCM | None = None

    def close(self, facts: dict[str, Any], content: Content) -> tuple[bytes, bytes]:
        """Give the first line, which names the key by its fingerprint, and the encrypted content."""
        head = orjson.dumps(facts | {"sealed": "encrypted", "key": self._first})
        if self._cipher is None:
            self._cipher = _cipher(self._keys[self._first])
        nonce = secrets.token_bytes(_NONCE)
        plain = zlib.compress(msgspec.msgpack.encode(content, enc_hook=str), _LEVEL)
        return head, nonce + self._cipher.encrypt(nonce, plain, head)

    def open(self, head: bytes, sealed: bytes) -> Content:
        """Give what was captured."""
        facts = orjson.loads(head)
        if facts.get("sealed") == "redacted":
            return _read_redacted(sealed)
        key = self._keys.get(str(facts.get("key")))
        if key is None:
            raise CaptureUnreadable(
                f"request {facts['id']} is encrypted with the key {facts.get('key')}, and "
                f"HEADGATE_CAPTURE_KEY has {' and '.join(self._keys)}: put the old key into it, after a comma"
            )
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see `_cipher`

        try:
            plain = _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], head)
            return msgspec.msgpack.decode(zlib.decompress(plain), type=Content)
        except (InvalidTag, ValueError, zlib.error, msgspec.DecodeError):
            raise CaptureUnreadable(
                f"request {facts['id']} cannot be decrypted: its file is damaged or was changed"
            ) from None


def fingerprint(key: bytes) -> str:
    """Name a key without telling it: the first digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:8]


def _cipher(key: bytes) -> AESGCM:
    # It loads OpenSSL: not in a process that captures nothing.
    from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415

    return aead.AESGCM(key)


def _redacted(raw: bytes | None) -> Any:
    try:
        return None if raw is None else redacted(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return None


def _read_redacted(sealed: bytes) -> Content:
    try:
        told = orjson.loads(sealed)
        return Content(
            headers=told["headers"],
            body=_dumped(told["body"]),
            answer=_dumped(told["answer"]),
            summary=told["summary"],
            steps=[(name, ms) for name, ms in told["steps"]],
        )
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        raise CaptureUnreadable("the capture is damaged") from None


def _dumped(value: Any) -> bytes | None:
    return None if value is None else orjson.dumps(value)
