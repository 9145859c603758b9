"""Who may ask: the client keys."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from wire.errors import AuthenticationFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANYONE = "anyone"


class ClientKeys:
    """The keys that clients may present, as `x-api-key` or Bearer. None at all: anyone may ask."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def check(self, headers: Mapping[str, str]) -> str:
        """Give the tenant's name, a digest of the key; raises AuthenticationFailed.

        Every known key is compared, in constant time, whichever matches.
        """
        if not self._digests:
            return ANYONE
        given = _presented(headers)
        if not given:
            raise AuthenticationFailed("no key was sent: use x-api-key, or authorization: Bearer")
        digest = hashlib.sha256(given.encode()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise AuthenticationFailed("the key that was sent is not one of this gateway's HEADGATE_API_KEYS")
        return digest.hex()[:12]


def _presented(headers: Mapping[str, str]) -> str:
    if key := headers.get("x-api-key"):
        return key.strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
