"""Parameters from elsewhere than the body: a request's headers, and the environment.

Both name a parameter by its API and its own name: `x-openrouter-min-p: 0.1`, `OPENROUTER_MIN_P=0.1`. A value
is JSON, but for words and other strings, which stand as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wire.errors import InvalidRequest
from wire.parameters import OPENAI, OPENROUTER, Presets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wire.messages import Json
    from wire.parameters import Api, Parameter

_NOTHING: Json = {}


def names_parameters(headers: Mapping[str, str]) -> bool:
    """Tell whether a header (lower-case names) may set a parameter."""
    names = "\n".join(headers)
    return OPENROUTER.header in names or OPENAI.header in names


def from_headers(headers: Mapping[str, str], api: Api) -> Json:
    """Give the parameters of `api` that the request's headers (lower-case names) set, checked.

    Other headers with the API's prefix are OpenRouter's own business. InvalidRequest begins with the path.
    """
    prefix, known = api.header, api.headers
    named = [name for name in headers if name.startswith(prefix) and name in known]
    if not named:
        return _NOTHING
    found: Json = {}
    for name in named:
        parameter = known[name]
        try:
            found[parameter.name] = _read(headers[name], parameter)
        except InvalidRequest as error:
            raise InvalidRequest(f"{error.message} (header {name})") from None
    return found


def from_environment(environment: Mapping[str, str]) -> Presets:
    """Give what the variables set; an empty one sets nothing. InvalidRequest begins with the variable."""
    return Presets(*(_of_api(environment, api) for api in (OPENROUTER, OPENAI)))


def _of_api(environment: Mapping[str, str], api: Api) -> Json:
    found: Json = {}
    for parameter in api.headers.values():
        variable = api.variable + parameter.name.upper()
        if text := environment.get(variable, "").strip():
            try:
                found[parameter.name] = _read(text, parameter)
            except InvalidRequest as error:
                raise InvalidRequest(f"{variable}: {error.message}") from None
    return found


def _read(text: str, parameter: Parameter) -> Any:
    value: Any = text
    if not parameter.rule.plain:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise InvalidRequest(f"{parameter.name}: must be JSON: {parameter.rule.says}") from None
    parameter.rule.check(value, parameter.name)
    return value
