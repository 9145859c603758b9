"""Put the parameters of OpenRouter and OpenAI into the request, where it has none of its own.

Nearly every request has nothing to put in or to take out: it passes as the same object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from express import step
from tasks.taken import taken_by
from wire.injection import Injection
from wire.parameters import OPENAI, OPENROUTER
from wire.sources import from_headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tasks.backend import Route
    from tasks.exchange import Exchange
    from wire.messages import Json
    from wire.parameters import Api, Presets


@step
def inject_openrouter_parameters(body: Json, route: Route, exchange: Exchange, presets: Presets) -> Json:
    """Give the body with OpenRouter's parameters, from headers and environment, that its backend takes.

    Raises InvalidRequest for a wrong header, UnsupportedContent for what the backend cannot do without.
    """
    return _inject(OPENROUTER, presets.openrouter, body, route, exchange)


@step
def inject_openai_parameters(body: Json, route: Route, exchange: Exchange, presets: Presets) -> Json:
    """Give the body with OpenAI's parameters, likewise."""
    return _inject(OPENAI, presets.openai, body, route, exchange)


def _inject(api: Api, preset: Mapping[str, Any], body: Json, route: Route, exchange: Exchange) -> Json:
    asked = from_headers(exchange.headers, api)
    if not preset and not asked and api.names.isdisjoint(body):
        exchange.left_out.pop(api.name, None)
        return body
    target = route.target
    injection = Injection(body, model=target.model, taken=taken_by(target), backend=target.backend)
    result = injection.inject(api, asked, preset)
    exchange.left_out[api.name] = tuple(injection.left_out)
    return result
