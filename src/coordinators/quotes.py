"""Takes out of an error's text what it quotes of the request: prompts are not written down.

Upstreams quote the prompt they refuse, and our own checks the value they did not expect. The client is told
all of it; logs and flow runs are not.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from tasks.exchange import Exchange

SHORTEST = 16
"""Characters that a text and a request must share in a row; fewer are in most requests by chance."""

LEFT_OUT = "[…]"
_MOST_SEARCHED = 8 * 2**20
_WORD = re.compile(r"\w+|[^\w\s]+")
_FIELD = re.compile(r"[\s\"'`:.,(]*[a-z_]+[\s\"'`:.,)]*")
_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")
_TOO_LARGE = "[further words are left out: they might quote the request, which is too large to look]"


def without_quotes(text: str, exchange: Exchange) -> str:
    """Give the text, `[…]` in the place of what the request's body has too: never its model, nor field names.

    Bytes searched are bounded, for this is done while others wait: of a text that would take more than 8 MB
    the rest is left out. What was found stays with the exchange: a failure's texts say much the same.
    """
    if not exchange.raw or len(text) < SHORTEST:
        return text
    body = _Body(exchange)
    starts = [at for found in _WORD.finditer(text) if (at := found.start()) <= len(text) - SHORTEST]
    searched = body.affordable([text[at : at + SHORTEST] for at in starts])
    kept, done = [], 0
    for start in starts[:searched]:
        end = start
        while start >= done and (length := body.shared(text[end:])):
            end += length  # what goes on may stand elsewhere in the request
        if end > start and not _is_ours(text[start:end], exchange.model):
            kept += [text[done:start], LEFT_OUT]
            done = end
    if searched < len(starts):
        return "".join([*kept, text[done : starts[searched]], _TOO_LARGE])
    return "".join([*kept, text[done:]])


class _Body:
    """A request's body as it came, and where in it which beginnings were found to end (-1: they are not)."""

    def __init__(self, exchange: Exchange) -> None:
        if exchange.searched is None:
            exchange.searched = {}
        self._raw = exchange.raw
        self._ends = exchange.searched

    def affordable(self, beginnings: list[str]) -> int:
        """Count how many of these may be looked for, one after the other."""
        left = _MOST_SEARCHED
        for count, one in enumerate(beginnings):
            if one not in self._ends:
                left -= len(self._raw) * len(_forms(one))
            if left < 0:
                return count
        return len(beginnings)

    def shared(self, text: str) -> int:
        """Count the characters at the text's beginning that the body has in a row, 0 if too few."""
        if len(text) < SHORTEST or (at := self._end_of(text[:SHORTEST])) < 0:
            return 0
        length = SHORTEST
        while length < len(text) and (more := self._goes_on(text[length], at)):
            length += 1
            at += more
        return length

    def _end_of(self, beginning: str) -> int:
        if (known := self._ends.get(beginning)) is not None:
            return known
        found = ((self._raw.find(form), len(form)) for form in _forms(beginning))
        end = next((at + length for at, length in found if at >= 0), -1)
        self._ends[beginning] = end
        return end

    def _goes_on(self, character: str, at: int) -> int:
        """Give the length of the character where it stands in the body at this place, 0 if it does not."""
        return next((len(form) for form in _forms(character) if self._raw.startswith(form, at)), 0)


def _forms(text: str) -> tuple[bytes, ...]:
    """Give the ways in which a text may stand within JSON: clients may escape all but ASCII, in two cases."""
    plain = orjson.dumps(text.encode("utf-8", "replace").decode())[1:-1]
    if text.isascii() and b"\\u" not in plain:
        return (plain,)
    escaped = json.dumps(text)[1:-1]
    return plain, escaped.encode(), _ESCAPE.sub(_upper, escaped).encode()


def _upper(escape: re.Match[str]) -> str:
    return "\\u" + escape[0][2:].upper()


def _is_ours(shared: str, model: str) -> bool:
    return _FIELD.fullmatch(shared) is not None or (bool(model) and shared.strip(" '\"`:.,()") in model)
