"""Putting parameters into a request: what it has stays, what the backend does not take goes.

The body's own parameters come first, then those of the headers, then the environment's. Nothing is lost
silently: what a client wrote and the backend does not take is refused, or named as left out. The
environment's speaks for all backends at once, so that there a part that does not fit is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.errors import UnsupportedContent
from wire.parameters import PARAMETERS
from wire.thinking import from_reasoning, is_silent, kind_of, may_think, thinks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wire.messages import Json
    from wire.parameters import Api


class Injection:
    """One request's parameters of one API on their way into its body: a new one, the old stays as it is.

    `left_out` names what the client asked for and does not get.
    `taken` are the fields that wire and backend take; `backend` is what a refusal calls it.
    """

    def __init__(self, body: Json, *, model: str, taken: frozenset[str], backend: str) -> None:
        self.body = dict(body)
        self.left_out: list[str] = []
        self._model = model
        self._taken = taken
        self._backend = backend

    def inject(self, api: Api, asked: Mapping[str, Any], preset: Mapping[str, Any]) -> Json:
        """Settle every parameter of `api`; UnsupportedContent names one that cannot be done without."""
        written = [name for name in self.body if name in api.names]
        for name in written:
            value = self.body[name]
            if name in _CONVERTED or name not in self._taken:
                del self.body[name]
                if value not in _NOTHING:
                    self._set(name, value)
        for name, value in asked.items():
            if name not in written and (name not in REASONING or is_silent(self.body)):
                self._set(name, value)
        for name, value in preset.items():
            if name not in written and name not in asked:
                self._suggest(name, value)
        return self.body

    def _set(self, name: str, value: Any) -> None:
        """Put in what the client asked for, in its body or in a header."""
        if name == "temperature_range":
            self._clamp(value)
        elif name in self._taken:
            self._put(name, value)
        elif name in REASONING:
            if thinks(self.body) or not self._think(name, value):
                self.left_out.append(name)
        elif (path := PARAMETERS[name].weighty(value)) is not None:
            raise UnsupportedContent(f"{path}: the backend ({self._backend}) does not take it")
        else:
            self.left_out.append(name)

    def _suggest(self, name: str, value: Any) -> None:
        """Put in what the environment gives, where the request leaves room for it."""
        if name == "temperature_range":
            self._clamp(value)
        elif name in REASONING:
            if not is_silent(self.body):
                return
            if name in self._taken:
                self._put(name, value)
            elif may_think(self.body, kind_of(self._model)):
                self._think(name, value)
        elif name in self._taken and not (name == "top_k" and thinks(self.body)):
            self._put(name, value)

    def _put(self, name: str, value: Any) -> None:
        """Put in what is taken; an end user's name in its canonical place, where every wire finds it."""
        if name != "user":
            self.body[name] = value
            return
        metadata = self.body.get("metadata") or {}
        if not metadata.get("user_id"):
            self.body["metadata"] = {**metadata, "user_id": value}

    def _clamp(self, bounds: list[float]) -> None:
        """Move the temperature into its range; one that is not given stays so, and thinking has none."""
        temperature = self.body.get("temperature")
        if temperature is not None and not thinks(self.body):
            self.body["temperature"] = min(max(temperature, bounds[0]), bounds[1])

    def _think(self, name: str, value: Any) -> bool:
        """Say reasoning in Anthropic's words; False if they have none for it, or the model cannot."""
        reasoning = value if name == "reasoning" else {"effort": value}
        before = self.body
        self.body = from_reasoning(before, reasoning, kind_of(self._model))
        return self.body is not before


_CONVERTED = frozenset({"temperature_range", "user"})
_NOTHING: tuple[Any, ...] = (None, {}, [])
REASONING = frozenset({"reasoning", "reasoning_effort"})
