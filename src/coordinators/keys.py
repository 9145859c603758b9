"""Who may ask: the client keys."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wire.errors import AuthenticationFailed, PermissionDenied

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


class AdminKeys:
    """Who may manage: holders of an admin key; without any keys at all, whoever is on this machine.

    An admin key comes as `x-headgate-admin-key`, or where a client's key does. `clients` says that client
    keys are in use: a proxy on this machine may then bring strangers, so that its address says nothing.
    """

    def __init__(self, keys: Iterable[str], *, clients: bool) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._clients = clients

    def check(self, headers: Mapping[str, str], peer: str | None) -> None:
        """Let the request pass; raises AuthenticationFailed or PermissionDenied. `peer` is its address."""
        if self._digests:
            given = headers.get("x-headgate-admin-key", "").strip() or _presented(headers)
            digest = hashlib.sha256(given.encode()).digest()
            matches = [hmac.compare_digest(digest, known) for known in self._digests]
            if not any(matches):
                raise AuthenticationFailed("this needs one of HEADGATE_ADMIN_KEYS, as x-headgate-admin-key")
        elif self._clients:
            raise PermissionDenied("this needs an admin key, and none is set: see HEADGATE_ADMIN_KEYS")
        elif peer not in _LOOPBACK or not _is_local_page(headers):
            raise PermissionDenied("this is for the machine itself; set HEADGATE_ADMIN_KEYS to open it")

    def holds(self, headers: Mapping[str, str], peer: str | None) -> bool:
        """Say whether `check` lets the request pass."""
        try:
            self.check(headers, peer)
        except (AuthenticationFailed, PermissionDenied):
            return False
        return True


_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
_LOCAL_NAMES = ("localhost", *_LOOPBACK)


def _is_local_page(headers: Mapping[str, str]) -> bool:
    """Say whether no web page from elsewhere stands behind a request of this machine's own browser."""
    names = [urlsplit(f"//{headers.get('host', '')}").hostname]
    if (origin := headers.get("origin")) is not None:
        names.append(urlsplit(origin).hostname)
    return all(name in _LOCAL_NAMES for name in names)
