"""Who may ask: the client keys."""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from coordinators.stored_keys import digest_of, tenant_of
from wire.errors import AuthenticationFailed, Overloaded, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from coordinators.stored_keys import StoredKey

ANYONE = "anyone"
_LOOKS = 2  # one may have begun before the key was made


class ClientKeys:
    """The keys that clients may present, as `x-api-key` or Bearer. None at all: anyone may ask.

    `keys` are the settings' own; those of the store are told by `know`, time and again. With `always` a key
    is asked for even if there is none. `all_here` says that no other process has settings' keys that this one
    has not.
    """

    def __init__(self, keys: Iterable[str], *, always: bool = False, all_here: bool = True) -> None:
        self._always = always
        self._all_here = all_here
        self._own = {digest: tenant_of(digest) for digest in map(digest_of, keys)}
        self._tenants = {ANYONE, *self._own.values()}
        self._stored: dict[bytes, StoredKey] = {}
        self._stored_tenants: set[str] = set()
        self._looks = 0
        self._unknown: dict[str, int] = {}
        self.refused = 0
        self.closed = False
        """Whether the store's keys could not be read, though there are some: then only our own are taken."""

    @property
    def required(self) -> bool:
        """Whether a key is asked for."""
        return self._always or bool(self._own or self._stored or self.closed)

    def know(self, keys: Iterable[StoredKey]) -> None:
        """Take the store's keys. With any key in it one is asked for, even if all were revoked."""
        self._stored = {bytes.fromhex(key.digest): key for key in keys}
        self._stored_tenants = {key.id for key in self._stored.values()}
        self._unknown = {name: when for name, when in self._unknown.items() if not self._knows(name)}
        self.confirm()

    def confirm(self) -> None:
        """Take note that the store has the keys that are known here."""
        self.closed = False
        self._looks += 1

    def check_tenant(self, tenant: str) -> None:
        """Let a tenant's request pass whose key is not there to be checked; raises PermissionDenied.

        A key that was deleted has no limits any more: what was begun with it ends with it. One that is not
        known here may be new, which Overloaded says until the store was looked at twice.
        """
        if self._knows(tenant):
            return
        if self._looks < self._unknown.setdefault(tenant, self._looks) + _LOOKS:
            raise Overloaded(
                "the gateway looks whether it has the key that this is asked with", retry_after=2
            )
        raise PermissionDenied("the key that this is asked with is not one of this gateway's any more")

    def _knows(self, tenant: str) -> bool:
        return tenant in self._tenants or tenant in self._stored_tenants or not (self._own or self._all_here)

    def check(self, headers: Mapping[str, str]) -> str:
        """Give the tenant's name, a digest of the key; raises AuthenticationFailed.

        Any key that was sent will do: some clients send a key of another service beside ours. Keys are looked
        up by their digests, of which nobody can choose one: it need not take equal time.
        """
        if not self.required:
            return ANYONE
        given = _presented(headers)
        if not given:
            self.refused += 1
            raise AuthenticationFailed("no key was sent: use x-api-key, or authorization: Bearer")
        refusal: str | None = None
        for digest in map(digest_of, given):
            if (tenant := self._own.get(digest)) is not None:
                return tenant
            if (key := self._stored.get(digest)) is not None:
                reason = key.why_not(time.time())
                if reason is None:
                    return key.id
                refusal = f"the key that was sent, {key.name!r}, {reason}"
        if refusal is not None:
            self.refused += 1
            raise AuthenticationFailed(refusal)
        if self.closed:
            raise Overloaded("the gateway cannot read its client keys now; try again later", retry_after=5)
        self.refused += 1
        raise AuthenticationFailed("the key that was sent is not one of this gateway's")


def _presented(headers: Mapping[str, str]) -> list[str]:
    """Give the keys that were sent: two at most, `x-api-key` first."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    sent = (headers.get("x-api-key", ""), token if scheme.lower() == "bearer" else "")
    return [key for one in sent if (key := one.strip())]


class AdminKeys:
    """Who may manage: holders of an admin key; without any keys at all, whoever is on this machine.

    An admin key comes as `x-headgate-admin-key`, or where a client's key does. `clients` says whether
    client keys are in use: a proxy on this machine may then bring strangers, and its address says nothing.
    """

    def __init__(self, keys: Iterable[str], *, clients: Callable[[], bool]) -> None:
        self._digests = [digest_of(key) for key in keys]
        self._clients = clients

    def check(self, headers: Mapping[str, str], peer: str | None) -> None:
        """Let the request pass; raises AuthenticationFailed or PermissionDenied. `peer` is its address."""
        if self._digests:
            admin = headers.get("x-headgate-admin-key", "").strip()
            digests = [digest_of(key) for key in ([admin] if admin else _presented(headers))]
            matches = [hmac.compare_digest(given, known) for given in digests for known in self._digests]
            if not any(matches):
                raise AuthenticationFailed("this needs one of HEADGATE_ADMIN_KEYS, as x-headgate-admin-key")
        elif self._clients():
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
