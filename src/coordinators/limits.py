"""What a key may still do: its models, its requests and tokens a minute, its dollars a day and a month.

Every process counts for itself and shares its counts through the store. A limit is measured against what the
store had at the last look, a couple of seconds ago, and what was counted here since.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from wire.errors import PermissionDenied, RateLimited
from wire.named_models import models_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from coordinators.stored_keys import StoredKey
    from coordinators.usage import Sums, Window
    from tasks.exchange import Exchange

REQUESTS: Final = 0
TOKENS: Final = 1
COST: Final = 2

_NOTHING: Final[Sums] = [0, 0, 0.0]

_MINUTE = 60
_LONGEST_WAIT = 60.0  # what clients believe of a retry-after


class _Account:
    """A key, and its sums of the periods of now: what this process counted, and beside it what else is known.

    They hold for one `epoch` of the limits.
    """

    __slots__ = ("before", "day", "day_known", "epoch", "key", "limited", "minute", "minute_known", "month",
                 "month_known")  # fmt: skip

    def __init__(self, key: StoredKey) -> None:
        self.key = key
        self.limited = bool(key.models) or any(
            limit is not None
            for limit in (
                key.rpm, key.tpm, key.daily_usd, key.monthly_usd, key.expires_at, key.revoked_at,
            )
        )  # fmt: skip
        self.epoch = -1
        self.minute = self.day = self.month = self.before = _NOTHING
        self.minute_known = self.day_known = self.month_known = _NOTHING


class Limits:
    """The accounts of the keys in the store; tenants without one have no limits.

    `refused` is told the tenant and the model of each request that is not let in.
    """

    def __init__(self, refused: Callable[[str, str], None] = lambda *_: None) -> None:
        self.refused = refused
        self.turned_away = 0
        self._accounts: dict[str, _Account] = {}
        self._own: dict[Window, Sums] = {}
        self._sent: dict[Window, Sums] = {}
        self._shared: Mapping[Window, Sums] = {}
        self._epoch = 0
        self._minute_began = self._minute_ends = 0.0
        self._minute = self._before = self._day = self._month = ""

    @property
    def changed(self) -> bool:
        """Whether something was counted that the store was not told."""
        return bool(self._own)

    def know(self, keys: Iterable[StoredKey]) -> None:
        """Take the store's keys, those that were revoked among them."""
        self._accounts = {key.id: _Account(key) for key in keys}

    def admit(self, exchange: Exchange, tenant: str) -> None:
        """Let a request in and count it; raises RateLimited or PermissionDenied with what is exceeded."""
        exchange.tenant = tenant
        account = self._now(tenant)
        if account is None:
            return
        if account.limited:
            try:
                self._check(account, exchange)
            except (RateLimited, PermissionDenied):
                self.turned_away += 1
                self.refused(tenant, exchange.model)
                raise
        account.minute[REQUESTS] += 1
        account.day[REQUESTS] += 1
        account.month[REQUESTS] += 1

    def charge(self, tenant: str, tokens: int, cost: float) -> None:
        """Count what a request used, after its answer."""
        account = self._now(tenant)
        if account is not None:
            for sums in (account.minute, account.day, account.month):
                sums[TOKENS] += tokens
                sums[COST] += cost

    def take(self) -> Mapping[Window, Sums]:
        """Give what was counted, to be stored; it goes on to count until `share` says that it was."""
        self._sent, self._own = self._own, {}
        self._epoch += 1
        return self._sent

    def share(self, windows: Mapping[Window, Sums]) -> None:
        """Take the store's sums, which what was taken last is part of by now."""
        self._shared, self._sent = windows, {}
        self._epoch += 1

    def periods(self) -> tuple[str, str, str, str]:
        """Give the names of this minute, the one before, the day and the month."""
        self._turn_to(time.time())
        return self._minute, self._before, self._day, self._month

    def _turn_to(self, now: float) -> None:
        began = now // _MINUTE * _MINUTE
        if began != self._minute_began:
            self._minute_began, self._minute_ends = began, began + _MINUTE
            self._minute, self._before = _text(began), _text(began - _MINUTE)
            self._day, self._month = self._minute[:10], self._minute[:7]
            self._epoch += 1
            # What waits for a store that is down: of minutes only those that are still measured.
            self._own = {
                window: sums
                for window, sums in self._own.items()
                if len(window[0]) < len(self._minute) or window[0] >= self._before
            }

    def _now(self, tenant: str) -> _Account | None:
        """Give the account with the sums of now: they are looked up once an epoch, not for every request."""
        account = self._accounts.get(tenant)
        if account is None:
            return None
        if (now := time.time()) >= self._minute_ends:
            self._turn_to(now)
        if account.epoch != self._epoch:
            account.epoch = self._epoch
            account.minute_known, account.minute = (
                self._known(self._minute, tenant),
                self._mine(self._minute, tenant),
            )
            account.day_known, account.day = self._known(self._day, tenant), self._mine(self._day, tenant)
            account.month_known, account.month = (
                self._known(self._month, tenant),
                self._mine(self._month, tenant),
            )
            before, mine = self._known(self._before, tenant), self._own.get((self._before, tenant), _NOTHING)
            account.before = [one + other for one, other in zip(before, mine, strict=True)]
        return account

    def _mine(self, period: str, tenant: str) -> Sums:
        return self._own.setdefault((period, tenant), [0, 0, 0.0])

    def _known(self, period: str, tenant: str) -> Sums:
        shared, sent = (sums.get((period, tenant), _NOTHING) for sums in (self._shared, self._sent))
        return [one + other for one, other in zip(shared, sent, strict=True)]

    def _check(self, account: _Account, exchange: Exchange) -> None:
        key, now = account.key, time.time()
        if (reason := key.why_not(now)) is not None:  # a batch outlives the key that it was made with
            raise PermissionDenied(f"the key {key.name!r} {reason}")
        if key.models:
            _check_models(key, exchange)
        if (limit := key.daily_usd) is not None:
            spent = account.day_known[COST] + account.day[COST]
            if spent >= limit:
                raise _used_up(key, spent, limit, "day", "at 00:00 UTC")
        if (limit := key.monthly_usd) is not None:
            spent = account.month_known[COST] + account.month[COST]
            if spent >= limit:
                raise _used_up(key, spent, limit, "month", "on the first of the month, UTC")
        passed = (now - self._minute_began) / _MINUTE
        if key.rpm is not None:
            _check_rate(account, REQUESTS, key.rpm, passed)
        if key.tpm is not None:
            _check_rate(account, TOKENS, key.tpm, passed)


def _used_up(key: StoredKey, spent: float, limit: float, period: str, again: str) -> PermissionDenied:
    told = PermissionDenied(
        f"the key {key.name!r} has used up its ${limit:,.2f} a {period} (${spent:,.2f} spent); "
        f"it can be used again {again}"
    )
    told.quotes = False
    return told


def _check_rate(account: _Account, which: int, limit: int, passed: float) -> None:
    """Measure the last 60 seconds: this minute, and of the one before the part that has not passed."""
    current = account.minute_known[which] + account.minute[which]
    before = account.before[which]
    # A request comes on top of those that were let in; and a token at least, what it will use is not known.
    most = limit - 1
    if current + before * (1 - passed) <= most:
        return
    wait = min(max(_wait(current, before, passed, most), 1.0), _LONGEST_WAIT)
    told = RateLimited(
        f"the key {account.key.name!r} has reached its limit of {limit:,} "
        f"{'requests' if which == REQUESTS else 'tokens'} a minute; try again in {wait:.0f} seconds",
        retry_after=wait,
    )
    told.quotes = False
    raise told


def _wait(current: float, before: float, passed: float, most: float) -> float:
    """Give the seconds until no more than `most` are measured, if no more come."""
    if current <= most and before > 0:
        return (1 - (most - current) / before - passed) * _MINUTE
    rest = 1 - most / current if current > 0 else 0.0
    return (1 - passed + rest) * _MINUTE


def _check_models(key: StoredKey, exchange: Exchange) -> None:
    """Check every model that the request names, in its body or in headers: those to fall back to as well."""
    for model in models_named(exchange.body or {}, exchange.headers):
        if not key.may_ask(model):
            raise PermissionDenied(
                f"model: the key {key.name!r} may not ask for {model[:100]!r}, "
                f"only for {', '.join(key.models)}"
            )


def _text(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M", time.gmtime(moment))
