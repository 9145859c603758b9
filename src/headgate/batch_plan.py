"""What a batch would take, before anything is sent: tokens, cost, time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.price_list import PriceList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from headgate.settings import Settings
    from wire.batch_file import Request

EXACTLY = 2000
"""Requests whose tokens are counted; of a larger file so many, evenly spread, stand for the rest."""

_BYTES_A_TOKEN = 4.0


@dataclass(slots=True)
class ModelPlan:
    """What one model's requests would take. `tokens_out` is the most that they allow.

    `cost_in` and `cost_out` are in US dollars, None where nobody knows the price.
    """

    model: str
    requests: int = 0
    bytes: int = 0
    tokens_out: int = 0
    counted_bytes: int = 0
    counted_tokens: int = 0
    unlimited: int = 0
    cost_in: float | None = None
    cost_out: float | None = None

    @property
    def tokens_in(self) -> int:
        """Give the tokens counted, and for the rest as many a byte as those had."""
        if not self.counted_bytes:
            return round(self.bytes / _BYTES_A_TOKEN)
        return round(self.counted_tokens * self.bytes / self.counted_bytes)


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the pace: requests at once, a minute, tokens a minute (0: none); an answer's seconds."""

    at_once: int
    rpm: int
    tpm: int
    latency: float

    @classmethod
    def of(cls, settings: Settings, latency: float) -> Limits:
        """Take them from the settings."""
        return cls(settings.batch_concurrency, settings.batch_rpm, settings.batch_tpm, latency)


@dataclass(slots=True)
class Plan:
    """What a whole batch would take."""

    limits: Limits
    models: dict[str, ModelPlan] = field(default_factory=dict)
    counted: int = 0

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self.models.values())

    @property
    def tokens_in(self) -> int:
        return sum(one.tokens_in for one in self.models.values())

    @property
    def tokens_out(self) -> int:
        return sum(one.tokens_out for one in self.models.values())

    def cost(self) -> tuple[float, float, bool]:
        """Give the cost of what goes in, that of what may come out, and whether every price is known."""
        known = [one for one in self.models.values() if one.cost_in is not None]
        costs_in = sum(one.cost_in or 0.0 for one in known)
        costs_out = sum(one.cost_out or 0.0 for one in known)
        return costs_in, costs_out, len(known) == len(self.models)

    def duration(self) -> tuple[float, str]:
        """Give the seconds it takes at least, and what bounds them."""
        limits = self.limits
        rounds = -(-self.requests // limits.at_once)
        bounds = {f"{limits.at_once} at once, {limits.latency:g} s each": rounds * limits.latency}
        if limits.rpm:
            bounds[f"{limits.rpm:,} requests a minute"] = 60.0 * self.requests / limits.rpm
        if limits.tpm:
            bounds[f"{limits.tpm:,} tokens a minute"] = 60.0 * (self.tokens_in + self.tokens_out) / limits.tpm
        longest = max(bounds, key=lambda name: bounds[name])
        return bounds[longest], longest

    def told(self) -> dict[str, Any]:
        """Give it for scripts."""
        costs_in, costs_out, complete = self.cost()
        seconds, bound = self.duration()
        names = ("requests", "tokens_in", "tokens_out", "cost_in", "cost_out")
        models = {one.model: {name: getattr(one, name) for name in names} for one in self.models.values()}
        return {
            "requests": self.requests,
            "tokens_in": self.tokens_in,
            "tokens_out_at_most": self.tokens_out,
            "cost_in": costs_in,
            "cost_out_at_most": costs_out,
            "every_price_known": complete,
            "seconds": seconds,
            "bounded_by": bound,
            "assumed_seconds_an_answer": self.limits.latency,
            "counted_requests": self.counted,
            "models": models,
        }


def make_plan(
    requests: Iterable[Request],
    total: int,
    limits: Limits,
    aliases: Mapping[str, str],
    tell: Callable[[int], None] = lambda _: None,
) -> Plan:
    """Plan a batch of `total` requests; `tell` hears how many were read."""
    plan, count, every = Plan(limits), _counter(), max(1, -(-total // EXACTLY))
    for number, request in enumerate(requests):
        params = orjson.loads(request.params)
        model = str(params["model"])
        one = plan.models.setdefault(model, ModelPlan(model))
        one.requests += 1
        one.bytes += len(request.params)
        most = params.get("max_tokens")
        if isinstance(most, int) and most > 0:
            one.tokens_out += most
        else:
            one.unlimited += 1
        # at least one of every model, or its tokens a byte would be guessed
        if number % every == 0 or not one.counted_bytes:
            one.counted_bytes += len(request.params)
            one.counted_tokens += count(params, model, len(request.params))
            plan.counted += 1
        tell(number + 1)
    prices = PriceList(aliases)
    for one in plan.models.values():
        if (price := prices.of(one.model)) is not None:
            one.cost_in, one.cost_out = one.tokens_in * price.token_in, one.tokens_out * price.token_out
    return plan


def _counter() -> Callable[[dict[str, Any], str, int], int]:
    """Give what counts one request's tokens; loading it takes seconds."""
    from coordinators.counter_process import count, load_token_counter  # noqa: PLC0415 - see above

    token_counter = load_token_counter()

    def counted(params: dict[str, Any], model: str, size: int) -> int:
        try:
            return count(params, model, token_counter)
        except Exception:  # noqa: BLE001 - whatever the library raises for a request it does not understand
            return round(size / _BYTES_A_TOKEN)

    return counted
