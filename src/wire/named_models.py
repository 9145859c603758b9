"""Every model that a request names: the one it asks for, those that may answer in its place or help it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.errors import InvalidRequest
from wire.parameters import OPENROUTER
from wire.sources import from_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WITHIN = frozenset({"extra_body", "router_settings_override"})
"""Where LiteLLM reads fields that are not in the body itself."""


def models_named(body: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str]:
    """Give the names in a request's body and in its parameters' headers (lower-case names).

    The body need not be checked. A header that cannot be read names none: it is refused before it is sent.
    """
    yield from _in_fields(body)
    try:
        asked = from_headers(headers, OPENROUTER)
    except InvalidRequest:
        return
    yield from _in_fields(asked)


def _in_fields(told: Mapping[str, Any]) -> Iterator[str]:
    """Read fields, and those within them; not by recursion, for what is deeper than Python's may come."""
    waiting = [told]
    for field, value in (pair for fields in waiting for pair in fields.items()):
        if field == "model" and isinstance(value, str):
            yield value
        elif field == "preset" and isinstance(value, str):
            yield f"@preset/{value}"  # as OpenRouter calls it where a model is asked for
        elif field == "models" or field.endswith("fallbacks"):
            yield from _listed(value)
        elif field == "plugins":
            for plugin in _objects(value):
                yield from _of_part(plugin, plugin, plugin.get("id"))
        elif field == "tools":
            for tool in _objects(value):
                yield from _of_part(tool, tool.get("parameters"), tool.get("type"))
        elif field in _WITHIN and isinstance(value, dict):
            waiting.append(value)


def _listed(value: Any) -> Iterator[str]:
    """Read names, objects with a `model`, and LiteLLM's objects of a model's name and a list of others."""
    waiting = [value]
    for one in (one for listed in waiting if isinstance(listed, list) for one in listed):
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict) and isinstance(one.get("model"), str):
            yield one["model"]
        elif isinstance(one, dict):
            waiting += one.values()


def _of_part(part: Mapping[str, Any], settings: Any, kind: Any) -> Iterator[str]:
    """Read a plugin or a tool: a vendor's own may ask models by itself (an advisor, a panel).

    `allowed_models` only narrows what was asked for.
    """
    if kind in ("fusion", "openrouter:fusion"):
        yield "openrouter/fusion"  # which has a panel of its own where none is named
    if isinstance(part.get("model"), str):
        yield part["model"]
    if not isinstance(kind, str) or kind == "function" or not isinstance(settings, dict):
        return  # a function's `parameters` are a schema
    if settings is not part and isinstance(settings.get("model"), str):
        yield settings["model"]
    for field, value in settings.items():
        if field.endswith("models") and field != "allowed_models":
            yield from _listed(value)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
