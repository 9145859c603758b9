"""Which parameters of OpenRouter and OpenAI a target takes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from wire.injection import REASONING

if TYPE_CHECKING:
    from tasks.backend import Target, Wire
    from wire.dialects import Dialect


def taken_by(target: Target) -> frozenset[str]:
    """Give the fields that its wire sends, or converts itself from the canonical body."""
    return _taken(target.wire, target.dialect)


@lru_cache(maxsize=64)
def _taken(wire: Wire, dialect: Dialect) -> frozenset[str]:
    if wire == "messages":
        return dialect.on_messages | {"user"}  # which is `metadata.user_id` there
    return dialect.takes | REASONING if dialect.reasoning != "thinking" else dialect.takes


def speaks_anthropic(target: Target) -> bool:
    """Tell whether thinking reaches the target in Anthropic's own words."""
    return target.wire == "messages" or target.dialect.reasoning == "thinking"
