"""Give a model the effort and the patience that its profile asks for."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeAlias

from express import step
from tasks.model_names import claude_base_name
from tasks.taken import speaks_anthropic
from wire.thinking import (
    OTHER_APIS,
    brings_results,
    effort_of,
    is_silent,
    kind_of,
    may_think,
    thinks,
    with_effort,
    without_thinking,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.backend import Target
    from wire.messages import Json
    from wire.thinking import Kind

Thinking: TypeAlias = Literal["auto", "on", "off"]

_MOST_REMEMBERED = 1000
_USUAL_EFFORT = "medium"


@dataclass(frozen=True, slots=True)
class Profile:
    """What is special about a model. `tool_timeout`: seconds for a stream's first event after tool results."""

    effort: str | None = None
    tool_timeout: float | None = None


DEFAULT_PROFILES: Mapping[str, Profile] = {
    "claude-sonnet-4": Profile("high", 30.0),
    "claude-3.7-sonnet": Profile("medium", 25.0),
}
_PLAIN = Profile()


class Profiles:
    """The profiles by model. A pattern (`claude-opus-4*`, `openai/*`) means names as clients or backends write
    them; the first that matches counts. Looked up once per model.
    """

    def __init__(self, table: Mapping[str, Profile], thinking: Thinking = "auto") -> None:
        self.thinking = thinking
        self._table = {_plain_name(pattern): profile for pattern, profile in table.items()}
        self._known: dict[str, Profile] = {}

    def of(self, model: str) -> Profile:
        """Give the model's profile; an empty one if it has none."""
        if (known := self._known.get(model)) is not None:
            return known
        names = {model, _plain_name(model)}
        matches = (
            profile
            for pattern, profile in self._table.items()
            if any(fnmatchcase(name, pattern) for name in names)
        )
        found = next(matches, _PLAIN)
        if len(self._known) < _MOST_REMEMBERED:
            self._known[model] = found
        return found

    def first_byte(self, body: Json, target: Target) -> float | None:
        """Give the seconds within which the answer's first event must come, if the profile says so."""
        seconds = self.of(target.model).tool_timeout
        return seconds if seconds is not None and brings_results(body) else None


NO_PROFILES = Profiles({})


def _plain_name(name: str) -> str:
    """Reduce any spelling of a Claude name to one (`databricks-claude-3-7-sonnet` to `claude-3.7-sonnet`)."""
    plain = name.rpartition("/")[2].partition(":")[0].removeprefix("databricks-")
    return claude_base_name(plain) or name


@step
def apply_profile(body: Json, target: Target, profiles: Profiles) -> Json:
    """Give the body with the thinking that the model's profile, or HEADGATE_THINKING, asks for.

    The profile speaks last: where neither the request nor the environment said how much to think.
    """
    if profiles.thinking == "off":
        return without_thinking(body)
    effort = profiles.of(target.model).effort
    if profiles.thinking == "on":
        return _forced(body, target, effort)
    if effort is None:
        return body
    if _leaves_open(body) or (is_silent(body) and may_think(body, kind_of(target.model))):
        return with_effort(body, effort, _told(target))
    return body


def _told(target: Target) -> Kind:
    """Say how the backend wants to be told: OpenRouter and OpenAI take an effort for any model."""
    return kind_of(target.model) if speaks_anthropic(target) else "effort"


def _leaves_open(body: Json) -> bool:
    """Tell whether thinking is asked for without a word about how much."""
    thinking = body.get("thinking") or {}
    return thinks(body) and thinking["type"] != "enabled" and effort_of(body) is None and not _other_api(body)


def _other_api(body: Json) -> bool:
    return any(body.get(name) for name in OTHER_APIS)


def _forced(body: Json, target: Target, effort: str | None) -> Json:
    """Make the request think, if it does not and can; what it says itself about how much stays."""
    if _leaves_open(body):
        return with_effort(body, effort, _told(target)) if effort else body
    if thinks(body) or _other_api(body) or not may_think(body, kind_of(target.model)):
        return body
    return with_effort(body, effort_of(body) or effort or _USUAL_EFFORT, _told(target))
