"""How the answer cache behaves here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TTL = 3600.0
DEFAULT_SIZE = 1024 * 1024 * 1024
DEFAULT_LARGEST = 4 * 1024 * 1024
COMPLETE = frozenset({"end_turn", "stop_sequence", "tool_use"})
"""Stop reasons of complete answers. `refusal` and `max_tokens` may be added by choice, others never."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The settings of the cache; sizes in bytes, times in seconds.

    `on` is the default for requests that do not say. `ttls` are by model, as the client or the backend names
    it. `keep` are further stop reasons whose answers are stored. `house` stands for what the gateway's own
    settings put into every request: another house, another answer.
    """

    on: bool = False
    ttl: float = DEFAULT_TTL
    ttls: Mapping[str, float] = field(default_factory=dict)
    stale: float = 0.0
    size: int = DEFAULT_SIZE
    largest: int = DEFAULT_LARGEST
    keep: frozenset[str] = frozenset()
    shared: bool = False
    house: str = ""

    @property
    def kept(self) -> frozenset[str]:
        """All stop reasons whose answers are stored."""
        return COMPLETE | self.keep
