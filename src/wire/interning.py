"""Messages and tools that requests have in common, parsed once.

A conversation comes back whole with every turn: all of it but the last messages is, byte for byte, what came
before. So a body's messages and its tools are looked up by their bytes, and only what is new is parsed. What
is learned of a message that does not depend on its place (that it is valid, what its turn becomes on a chat
wire, its digest for the cache's key) stays with it. Requests share these objects: nobody may change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import orjson

from wire.signature import MARK

if TYPE_CHECKING:
    from wire.messages import Json

SMALLEST_BODY = 8 * 1024
"""Bytes of a body below which looking up costs more than it saves."""

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of messages and tools that are kept, those used last."""

EACH = 1024
"""Bytes that an object counts beside its own: what a small one takes, with what was learned of it."""

MOST_BODIES = 4 * 1024 * 1024
"""Bytes of whole bodies that are kept besides, those used last: a request sent again is not parsed at all."""

_BREAKPOINT = b'"cache_control"'
_CITATIONS = b'"citations"'
_SEAL = MARK.encode()
_LARGEST = 2 * 1024 * 1024
_LARGEST_BODY = 1024 * 1024
_TAIL = 64
_skim = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_skim_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Facts(NamedTuple):
    """What a check found in a valid message: its calls' ids and names, and where it answers which call."""

    role: str
    calls: tuple[str, ...]
    names: tuple[str, ...]
    answers: tuple[tuple[int, str], ...]


class ChatTurn(NamedTuple):
    """What a turn becomes on a chat wire.

    `key` says for whom, `after` are the messages of the turn behind its first, `ids` the calls in it.
    """

    key: tuple[str, ...]
    after: list[Json]
    ids: frozenset[str]
    chat: list[Json]


class SharedMessage(dict[str, Any]):
    """A message that requests share.

    `marked` says that it may hold cache breakpoints, `cites` that it may hold or ask for citations, `sealed`
    that it may hold a signature of Headgate's.
    """

    __slots__ = ("cites", "digest", "facts", "marked", "sealed", "turn")

    def __init__(self, message: Json, raw: bytes) -> None:
        super().__init__(message)
        self.marked = _BREAKPOINT in raw
        self.cites = _CITATIONS in raw
        self.sealed = message.get("role") == "assistant" and _SEAL in raw
        self.digest: bytes | None = None
        self.facts: Facts | None = None
        self.turn: ChatTurn | None = None


class SharedTools(list[Any]):
    """A list of tools that requests share; `checked` once it was found valid.

    `marked` says that it may hold cache breakpoints. `chat` is what it becomes on a chat wire when every tool
    goes and every name fits.
    """

    __slots__ = ("chat", "checked", "digest", "marked")

    def __init__(self, tools: list[Any], *, marked: bool) -> None:
        super().__init__(tools)
        self.checked = False
        self.digest: bytes | None = None
        self.marked = marked
        self.chat: list[Json] | None = None


class Interner:
    """Objects by their bytes, the least recently used dropped beyond `most` bytes."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._size = 0
        self._known: dict[bytes, Any] = {}
        self._bodies: dict[tuple[int, bytes], tuple[bytes, Json]] = {}
        self._bodies_size = 0

    def __len__(self) -> int:
        """Count what is kept."""
        return len(self._known)

    def message(self, raw: bytes) -> Any:
        """Give the message with these bytes; raises ValueError if they are no JSON."""
        known = self._take(raw)
        if known is None:
            known = orjson.loads(raw)
            if type(known) is dict:
                known = SharedMessage(known, raw)
                self._keep(raw, known)
        return known

    def tools(self, raw: bytes) -> Any:
        """Give the list of tools with these bytes; raises ValueError if they are no JSON."""
        known = self._take(raw)
        if known is None:
            known = orjson.loads(raw)
            if type(known) is list:
                known = SharedTools(known, marked=_BREAKPOINT in raw)
                self._keep(raw, known)
        return known

    def body(self, raw: bytes) -> Json | None:
        """Give a body that came before with these bytes, or None. Its fields may be set, not changed inside.

        It is found by its length and its end, and then compared: hashing all of it costs ten times as much.
        """
        mark = (len(raw), raw[-_TAIL:])
        found = self._bodies.get(mark)
        if found is None or found[0] != raw:
            return None
        self._bodies[mark] = self._bodies.pop(mark)
        return _own(found[1])

    def keep_body(self, raw: bytes, body: Json) -> None:
        """Keep a parsed body for whoever sends the same bytes again."""
        if len(raw) > _LARGEST_BODY:
            return
        mark = (len(raw), raw[-_TAIL:])
        if mark not in self._bodies:
            self._bodies_size += len(raw)
        self._bodies[mark] = (raw, _own(body))
        while self._bodies_size > MOST_BODIES:
            oldest = next(iter(self._bodies))
            del self._bodies[oldest]
            self._bodies_size -= oldest[0]

    def _take(self, raw: bytes) -> Any:
        """Find an object and move it to the end, where the last used are."""
        known = self._known.pop(raw, None)
        if known is not None:
            self._known[raw] = known
        return known

    def _keep(self, raw: bytes, known: Any) -> None:
        if len(raw) > _LARGEST:
            return
        self._known[raw] = known
        self._size += len(raw) + EACH
        while self._size > self._most:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._size -= len(oldest) + EACH


def _own(body: Json) -> Json:
    """Give a body whose fields, and whose list of messages, are the caller's own."""
    own = dict(body)
    if type(messages := own.get("messages")) is list:
        own["messages"] = messages.copy()
    return own


def parse_interned(raw: bytes, interner: Interner) -> Json:
    """Parse a body, taking what the interner knows; raises ValueError for what is no JSON object.

    Equal to `orjson.loads(raw)` in value: every part is parsed by orjson, now or when it was first seen.
    """
    if (known := interner.body(raw)) is not None:
        return known
    body: Json = {}
    for field, part in _skim(raw).items():
        text = bytes(part)
        if field == "messages" and text[:1] == b"[":
            body[field] = [interner.message(bytes(one)) for one in _skim_list(part)]
        elif field == "tools":
            body[field] = interner.tools(text)
        else:
            body[field] = orjson.loads(text)
    interner.keep_body(raw, body)
    return body
