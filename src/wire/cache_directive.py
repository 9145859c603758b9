"""What a request says of the response cache, in headers or in a `cache` object.

    x-headgate-cache: MODE[; ttl=SECONDS][; stale=SECONDS][; tags=A,B][; single-flight][; replay=paced]

MODE is `on`, `off`, `refresh` (ask anew, and store that) or `only` (answer from the cache or not at all).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from wire.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wire.messages import Json

Mode: TypeAlias = Literal["on", "off", "refresh", "only"]

HEADER = "x-headgate-cache"
LONGEST = 30 * 24 * 3600.0
"""Seconds that an answer may be kept at most."""

_MODES: tuple[Mode, ...] = get_args(Mode)
_TAG = re.compile(r"[A-Za-z0-9_.:/@-]{1,64}")
_MOST_TAGS = 16


@dataclass(frozen=True, slots=True)
class Directive:
    """What one request asks of the cache. What is None is left to the settings; times are in seconds.

    `ttl` is how long its answer may be stored as fresh, `stale` how much longer it may answer while it is
    asked for anew; `max_age` is the oldest answer that the request takes.
    """

    mode: Mode | None = None
    ttl: float | None = None
    stale: float | None = None
    max_age: float | None = None
    tags: tuple[str, ...] = ()
    single_flight: bool = False
    paced: bool = False


SILENT = Directive()


def from_headers(headers: Mapping[str, str]) -> Directive:
    """Read both headers; InvalidRequest says what of `x-headgate-cache` is not understood.

    `cache-control` restricts, as in HTTP: it never turns the cache on, and what of it is not about us passes.
    """
    ours, theirs = headers.get(HEADER), headers.get("cache-control")
    if ours is None and theirs is None:
        return SILENT
    directive = _from_ours(ours) if ours is not None else SILENT
    return _restricted(directive, theirs) if theirs is not None else directive


def from_object(value: Any) -> Directive:
    """Read the `cache` object of a body, the header's words as fields; InvalidRequest has the path."""
    if not isinstance(value, dict):
        raise InvalidRequest("cache: must be an object")
    read: dict[str, Any] = {"mode": "on"}
    for name, given in value.items():
        read |= _field(str(name), given, f"cache.{str(name)[:40]}")
    return Directive(**read)


def _from_ours(text: str) -> Directive:
    mode, *rest = (part.strip() for part in text.split(";"))
    read = _field("mode", mode.lower(), HEADER)
    for part in rest:
        name, equals, value = part.partition("=")
        name = name.strip().lower().replace("-", "_")
        given: Any = value.strip() if equals else True
        if name == "tags" and equals:
            given = [tag.strip() for tag in value.split(",")]
        read |= _field(name, given, f"{HEADER}: {part[:40]}")
    return Directive(**read)


def _field(name: str, given: Any, where: str) -> Json:
    match name:
        case "mode" if given in _MODES:
            return {"mode": given}
        case "mode":
            raise InvalidRequest(f"{where}: must be one of {', '.join(_MODES)}")
        case "ttl" | "stale" | "max_age":
            return {name: _seconds(given, where)}
        case "tags":
            return {"tags": _tags(given, where)}
        case "single_flight" if isinstance(given, bool):
            return {"single_flight": given}
        case "replay" if given in ["paced", "at once"]:  # a list, because it may be anything
            return {"paced": given == "paced"}
        case _:
            raise InvalidRequest(f"{where}: is not understood")


def _seconds(given: Any, where: str) -> float:
    try:
        seconds = float(given) if not isinstance(given, bool) else -1.0
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:
        raise InvalidRequest(f"{where}: must be seconds, from 0 to {LONGEST:g}")
    return seconds


def _tags(given: Any, where: str) -> tuple[str, ...]:
    tags = given if isinstance(given, list) else []
    if not 0 < len(tags) <= _MOST_TAGS or not all(
        isinstance(tag, str) and _TAG.fullmatch(tag) for tag in tags
    ):
        raise InvalidRequest(f"{where}: must be 1 to {_MOST_TAGS} tags of letters, digits and _.:/@-")
    return tuple(sorted(set(tags)))


def _restricted(directive: Directive, cache_control: str) -> Directive:
    for part in cache_control.lower().split(","):
        name, _, value = part.strip().partition("=")
        match name:
            case "no-store":
                return replace(directive, mode="off")
            case "no-cache" if directive.mode not in {"off", "only"}:
                directive = replace(directive, max_age=0.0)
            case "only-if-cached" if directive.mode != "off":
                directive = replace(directive, mode="only")
            case "max-age" if value.isdecimal():
                directive = replace(directive, max_age=min(float(value), LONGEST))
            case _:
                pass
    return directive
