"""Models that must reason: being told not to is a 400, which Claude Code tells every model in side requests.

Some are known; the others are learned from their refusal. The refused request goes out once more at once, in
the words that such a model takes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
from msgspec.structs import replace

from wire.check import encode_body
from wire.errors import InvalidRequest

if TYPE_CHECKING:
    from tasks.backend import Outgoing
    from wire.errors import GatewayError
    from wire.messages import Json

NOT_AT_ALL = {"enabled": False}
LEAST: Json = {"effort": "low", "exclude": True}
"""As near to no reasoning as such a model goes."""

_KNOWN = ("openai/gpt-5", "openai/o1", "openai/o3", "openai/o4", "google/gemini-2.5-pro", "x-ai/grok-4")
_MOST_REMEMBERED = 1000
_says_so = re.compile(
    r"\b(?:reasoning|thinking)\b[^.]{0,60}\b(?:is mandatory|(?:cannot|can't|can not) be disabled)"
    r"|\bonly works in thinking mode",  # Gemini's own words
    re.IGNORECASE,
).search


class MustReason:
    """The models that must reason: those known, and those that said so to this process."""

    def __init__(self) -> None:
        self._learned: dict[str, None] = {}

    def __contains__(self, model: str) -> bool:
        return model in self._learned or model.startswith(_KNOWN)

    def learn(self, model: str) -> None:
        """Remember a model; of too many, the one learned first is forgotten."""
        self._learned[model] = None
        if len(self._learned) > _MOST_REMEMBERED:
            del self._learned[next(iter(self._learned))]


def is_told_not_to(chat: Json) -> bool:
    """Tell whether a chat request, in OpenRouter's words, asks for no reasoning at all."""
    return chat.get("reasoning") == NOT_AT_ALL


def reworded(outgoing: Outgoing, refusal: GatewayError) -> Outgoing | None:
    """Give the request with the least of reasoning, if it was refused for asking for none; else None.

    The model is remembered, for the requests to come. What is given has no such second chance.
    """
    if not isinstance(refusal, InvalidRequest) or (models := outgoing.must_reason) is None:
        return None
    if not _says_so(refusal.message):
        return None
    models.learn(outgoing.context.upstream_model)
    chat: dict[str, Any] = orjson.loads(outgoing.payload)
    return replace(outgoing, payload=encode_body(chat | {"reasoning": LEAST}), must_reason=None)
