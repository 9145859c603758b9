"""Tool names that fit a chat backend, and the way back.

Anthropic takes tool names of up to 128 characters and MCP clients use them (`mcp__server__tool`); chat
backends take 64 letters, digits, `_` and `-`. A name that does not fit is cut and gets a hash of the whole
name, so that it stays the same on every turn of a conversation and in every process.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST = 64
_HASH_DIGITS = 10
_fits = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_odd = re.compile(r"[^a-zA-Z0-9_-]")


class ToolNames:
    """The names of one request's tools, as the client knows them and as the backend does.

    Made once per request from every name that occurs in it, because a shortened name must not meet
    another tool's real one.
    """

    __slots__ = ("_originals", "_shorts")

    def __init__(self, shorts: Mapping[str, str]) -> None:
        """Take the renamed tools only: original name to short name."""
        self._shorts = dict(shorts)
        self._originals = {short: name for name, short in self._shorts.items()}

    @classmethod
    def of(cls, names: Iterable[str]) -> ToolNames:
        """Find short names for those of `names` that need one."""
        misfits: set[str] = set()
        taken: set[str] = set()
        for name in names:
            (taken if _fits(name) else misfits).add(name)
        shorts: dict[str, str] = {}
        for name in sorted(misfits):  # sorted: what wins a collision must not depend on the order of tools
            shorts[name] = _free(name, taken)
            taken.add(shorts[name])
        return cls(shorts)

    @property
    def plain(self) -> bool:
        """Whether every name fits as it is."""
        return not self._shorts

    def short(self, name: str) -> str:
        """Give the backend's name for the client's `name`."""
        return self._shorts.get(name) or (name if _fits(name) else _shortened(name, 0))

    def original(self, short: str) -> str:
        """Give the client's name for the backend's `short`; a name never shortened is itself."""
        return self._originals.get(short, short)


NO_NAMES = ToolNames({})
"""Of a request without tools; shared, for nothing changes one."""


def _free(name: str, taken: set[str]) -> str:
    """Shorten `name` to something that is not in `taken`."""
    attempt = 0
    while (short := _shortened(name, attempt)) in taken:
        attempt += 1
    return short


def _shortened(name: str, attempt: int) -> str:
    """Cut `name`, replace its odd characters, and append a hash of the whole of it."""
    whole = name.encode("utf-8", "surrogatepass") + b"\0" * attempt
    digest = hashlib.sha256(whole).hexdigest()[:_HASH_DIGITS]
    return f"{_odd.sub('_', name[: LONGEST - _HASH_DIGITS - 1])}_{digest}"
