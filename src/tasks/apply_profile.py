"""Give a model the effort and the patience that its profile asks for."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeAlias

from express import step
from tasks.model_names import claude_base_name
from tasks.taken import speaks_anthropic
from wire.thinking import (
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

    from tasks.backend import Route, Target
    from wire.messages import Json
    from wire.thinking import Kind

Thinking: TypeAlias = Literal["auto", "on", "off"]

_MOST_REMEMBERED = 1000
_USUAL_EFFORT = "medium"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a model gets. `tool_timeout`: the seconds for a stream's first event after tool results."""

    effort: str | None = None
    tool_timeout: float | None = None


DEFAULT_PROFILES: Mapping[str, Profile] = {
    "claude-sonnet-4": Profile("high", 30.0),
    "claude-3.7-sonnet": Profile("medium", 25.0),
}
_PLAIN = Profile()


class Profiles:
    """The profiles by model, each looked up once.

    A pattern (`claude-opus-4*`, `openai/*`) means names as clients or backends write them; the first that
    matches counts.
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

    def concern(self, body: Json, target: Target) -> bool:
        """Say whether there may be something to change about a request's thinking."""
        return self.thinking != "auto" or self.of(target.model).effort is not None or thinks(body)

    def first_event(self, body: Json, target: Target) -> float | None:
        """Give the seconds within which the answer's first event must come, if the profile says so."""
        seconds = self.of(target.model).tool_timeout
        return seconds if seconds is not None and brings_results(body) else None


NO_PROFILES = Profiles({})


def _plain_name(name: str) -> str:
    """Reduce any spelling of a Claude name to one (`databricks-claude-3-7-sonnet` to `claude-3.7-sonnet`)."""
    plain = name.rpartition("/")[2].partition(":")[0].removeprefix("databricks-")
    return claude_base_name(plain) or name


@step
def apply_profile(body: Json, route: Route, profiles: Profiles) -> Json:
    """Give the body with the thinking that the model's profile, or HEADGATE_THINKING, asks for.

    The profile speaks last: where neither the request nor the environment said how much to think.
    """
    if profiles.thinking == "off":
        return without_thinking(body)
    target = route.target
    effort = profiles.of(target.model).effort
    kind = kind_of(target.model)
    told = (
        kind if speaks_anthropic(target) else "effort"
    )  # OpenRouter and OpenAI take an effort for any model
    if thinks(body):
        return _measured(body, effort, told)
    if profiles.thinking == "on":
        effort = effort_of(body) or effort or _USUAL_EFFORT
    elif effort is None or not is_silent(body):
        return body
    return with_effort(body, effort, told) if may_think(body, kind) else body


def _measured(body: Json, effort: str | None, kind: Kind) -> Json:
    """Say how much to think where the request leaves that open, and in words that the model knows."""
    if body["thinking"]["type"] == "enabled" or (effort is None and kind != "budget"):
        return body
    said = effort_of(body)
    if kind == "budget":  # such a model refuses the other words, and an effort
        return with_effort(body, said or effort or _USUAL_EFFORT, kind)
    return with_effort(body, effort, kind) if effort and said is None else body
