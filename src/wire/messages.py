"""Words shared by everything that reads or writes Anthropic messages."""

from __future__ import annotations

import random
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
"""One parsed JSON object, as it came from the wire."""

Event: TypeAlias = dict[str, Any]
"""One event of an Anthropic message stream, `type` included."""

Message: TypeAlias = dict[str, Any]
"""One finished Anthropic Message."""


_random = random.Random()  # noqa: S311 - ids are unique, not secret; `secrets` asks the kernel for each


def new_id(prefix: str) -> str:
    """Make an id in Anthropic's form: the prefix, `01`, and 22 random letters and digits (88 bits)."""
    return f"{prefix}_01{_random.getrandbits(88):022x}"
