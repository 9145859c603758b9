"""Client keys as the store knows them: digests and limits, never the keys themselves."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from fnmatch import fnmatchcase

PREFIX = "hg_"
_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key of the store. Times are seconds since the epoch; a limit that is None is no limit.

    `id` names the tenant: the beginning of the key's digest. `rpm` and `tpm` are requests and tokens a
    minute, dollars are a day's and a month's (UTC). `models` are the names that may be asked for, with
    `*` for any part of one; none allows all.
    """

    id: str
    name: str
    digest: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    daily_usd: float | None = None
    monthly_usd: float | None = None
    models: tuple[str, ...] = ()

    def why_not(self, now: float) -> str | None:
        """Say why the key is not taken any more; None if it is."""
        if self.revoked_at is not None:
            return "was revoked"
        if self.expires_at is not None and now >= self.expires_at:
            return "has expired"
        return None

    def may_ask(self, model: str) -> bool:
        """Say whether a model of this name may be asked for."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)


def digest_of(key: str) -> bytes:
    """Give the SHA-256 digest that stands for a key."""
    return hashlib.sha256(key.encode()).digest()


def tenant_of(digest: bytes) -> str:
    """Give the tenant's name: the beginning of its key's digest."""
    return digest.hex()[:12]


def new_key() -> str:
    """Make a key of 32 random bytes."""
    return PREFIX + secrets.token_urlsafe(_BYTES)
