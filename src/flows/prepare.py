"""From a checked request to what one backend receives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.add_breakpoints import add_breakpoints, may_add_breakpoints
from tasks.apply_profile import NO_PROFILES, apply_profile
from tasks.convert import convert_request
from tasks.inject_parameters import inject_openai_parameters, inject_openrouter_parameters
from tasks.must_reason import MustReason
from wire.citations import has_citations
from wire.parameters import NO_PRESETS, PARAMETERS
from wire.sources import names_parameters
from wire.unsealing import unsealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.apply_profile import Profiles
    from tasks.backend import Outgoing, Route
    from tasks.exchange import Exchange
    from wire.messages import Json
    from wire.parameters import Presets


@dataclass(frozen=True, slots=True)
class House:
    """What this gateway adds to requests by itself: the environment's parameters, and models' profiles.

    `prompt_cache`: and cache breakpoints, to requests that have none. `must_reason` remembers which models
    refused to be told not to reason.
    """

    presets: Presets = NO_PRESETS
    profiles: Profiles = NO_PROFILES
    prompt_cache: bool = False
    must_reason: MustReason = field(default_factory=MustReason)


_BARE = House()


def prepare(
    body: Json,
    route: Route,
    exchange: Exchange,
    house: House | None = None,
    convert: Callable[[Json, Route, Exchange, float | None, MustReason], Outgoing] = convert_request,
) -> Outgoing:
    """Run the steps between choosing a route and sending; raises InvalidRequest with the path.

    `body` stays as it is, so that the next route can start from it. The profile comes last, because it
    speaks only where nobody else did. `convert` is the step of the client's format. A step that would find
    nothing to do is left out: three of them cost a small request a tenth of its time.
    """
    house = house or _BARE
    exchange.left_out.pop("anthropic", None)  # of a route before this one
    if _has_parameters(body, exchange, house.presets):
        body = inject_openrouter_parameters(body, route, exchange, house.presets)
        body = inject_openai_parameters(body, route, exchange, house.presets)
    elif exchange.left_out:
        exchange.left_out.clear()  # what a route before this one left out
    if route.target.wire == "messages":  # before the profile, which asks what a turn begins with
        body = unsealed(body, route.target.model)
    elif has_citations(body):
        exchange.left_out["anthropic"] = ("citations",)
    if house.profiles.concern(body, route.target):
        body = apply_profile(body, route, house.profiles)
    if house.prompt_cache and may_add_breakpoints(body, route.target, exchange):
        body = add_breakpoints(body, route)
    first_event = house.profiles.first_event(body, route.target)
    return convert(body, route, exchange, first_event, house.must_reason)


def _has_parameters(body: Json, exchange: Exchange, presets: Presets) -> bool:
    return (
        bool(presets.openrouter or presets.openai)
        or not PARAMETERS.keys().isdisjoint(body)
        or names_parameters(exchange.headers)
    )
