"""The content blocks of one answer, written one after the other.

An Anthropic stream has one open block at a time; a chat stream may go on with several tool calls at once.
So the block whose turn it is writes through, and those behind it wait with what they have. A block's turn
ends when another one waits and it is complete: text and reasoning always are, a tool call once its arguments
are a JSON object; what is still incomplete when the stream ends, ends then. Arguments that nobody can read
are an error at their end, as in a whole answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

import orjson

from wire.errors import UpstreamFailed
from wire.messages import new_id
from wire.reasoning import joined, shown_text
from wire.signature import pack_details
from wire.tool_input import read_input

if TYPE_CHECKING:
    from wire.messages import Event, Json
    from wire.names import ToolNames


class Block(ABC):
    """A block that takes shape. `pending` holds the deltas that wait for its turn or its start."""

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending: list[Json] = []

    @abstractmethod
    def opening(self, *, last: bool) -> Json | None:
        """Give the block as it starts; None while that is unknown, and at `last` if it is nothing at all."""

    @abstractmethod
    def ending(self) -> list[Json]:
        """Give the deltas that only the end brings."""

    def complete(self) -> bool:
        """Say whether the block may end as it is."""
        return True


class TextBlock(Block):
    """Text, and the citations that belong to it."""

    __slots__ = ("citations",)

    def __init__(self, citations: list[Json]) -> None:
        super().__init__()
        self.citations = citations

    def opening(self, *, last: bool) -> Json | None:  # noqa: ARG002  (any text is a start)
        return {"type": "text", "text": ""}

    def ending(self) -> list[Json]:
        return [{"type": "citations_delta", "citation": citation} for citation in self.citations]


class ReasoningBlock(Block):
    """Reasoning: a thinking block as soon as there is text to show, else a redacted one at its end.

    Its details travel to the next turn in the signature, or in the redacted block's data.
    """

    __slots__ = ("_details", "_model", "_plain", "_shown")

    def __init__(self, details: list[Json], model: str) -> None:
        super().__init__()
        self._details = details
        self._model = model
        self._shown: list[str] = []
        self._plain = False

    def add(self, text: str, details: list[Json]) -> str:
        """Take plain `text` and `details`, which usually say the same twice; give what is new to show.

        Once text came that no detail held, the text of later details is a repetition.
        """
        if details:
            self._details.extend(details)
        if not text:
            text = "" if self._plain else shown_text(details)
        elif not self._plain:
            self._plain = not shown_text(details)
        if text:
            self._shown.append(text)
        return text

    def opening(self, *, last: bool) -> Json | None:
        if self._shown:
            return {"type": "thinking", "thinking": "", "signature": ""}
        data = self._packed() if last else ""
        return {"type": "redacted_thinking", "data": data} if data else None

    def ending(self) -> list[Json]:
        signature = self._packed() if self._shown else ""
        return [{"type": "signature_delta", "signature": signature}] if signature else []

    def _packed(self) -> str:
        details = joined(self._details) or [{"type": "reasoning.text", "text": "".join(self._shown)}]
        return pack_details(details, self._model)


class ToolBlock(Block):
    """One tool call. `given` is the id from upstream, if any; `used` holds the ids of this answer."""

    __slots__ = ("_arguments", "_closed", "_names", "_opened", "_used", "given", "name")

    def __init__(self, given: str, names: ToolNames, used: set[str]) -> None:
        super().__init__()
        self.given = given
        self.name = ""
        self._opened = False
        self._closed = False
        self._arguments: list[str] = []
        self._names = names
        self._used = used

    def add(self, name: str, arguments: str) -> str:
        """Take a piece of the name, of the arguments, or of both; give what of the arguments to write.

        Some backends repeat the whole name. Blanks before the arguments go: the SDK fails on blanks alone.
        """
        if self._closed and arguments.strip():
            raise UpstreamFailed(f"the upstream went on with a finished call of the tool {self.name!r}")
        if name and name != self.name and not self._opened:
            self.name += name
        if not self._arguments:
            arguments = arguments.lstrip()
        if arguments:
            self._arguments.append(arguments)
        return arguments

    def opening(self, *, last: bool) -> Json | None:
        if not self.name:
            if last and self._arguments:
                raise UpstreamFailed("the upstream sent a tool call without a name")
            return None
        if not self._arguments and not last:  # the name may go on
            return None
        self._opened = True
        call_id = self.given
        if not call_id or call_id in self._used:
            call_id = new_id("toolu")
        self._used.add(call_id)
        return {"type": "tool_use", "id": call_id, "name": self._names.original(self.name), "input": {}}

    def ending(self) -> list[Json]:
        self._closed = True
        if not self._arguments:
            return [{"type": "input_json_delta", "partial_json": "{}"}]
        read_input("".join(self._arguments), self._names.original(self.name))
        return []

    def complete(self) -> bool:
        if not self._arguments or not self._arguments[-1].rstrip().endswith("}"):
            return False
        try:
            orjson.loads("".join(self._arguments))
        except ValueError:
            return False
        return True


class FixedBlock(Block):
    """A block that is whole from its start, such as a search result."""

    __slots__ = ("_block", "_deltas")

    def __init__(self, block: Json, deltas: list[Json]) -> None:
        super().__init__()
        self._block = block
        self._deltas = deltas

    def opening(self, *, last: bool) -> Json | None:  # noqa: ARG002  (known from the start)
        return self._block

    def ending(self) -> list[Json]:
        return self._deltas


class Blocks:
    """The row of blocks; `events` collects what they give, and whoever feeds takes it away."""

    __slots__ = ("_current", "_index", "_opened", "_waiting", "events", "tail")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.tail: Block | None = None
        self._current: Block | None = None
        self._waiting: deque[Block] = deque()
        self._index = 0
        self._opened = False

    def append(self, block: Block) -> None:
        """Put a block at the row's end."""
        self._waiting.append(block)
        self.tail = block
        self._advance()

    def write(self, block: Block, delta: Json) -> None:
        """Give a block of the row its next delta."""
        if block is not self._current:
            block.pending.append(delta)
            return
        if self._opened:
            self.events.append({"type": "content_block_delta", "index": self._index, "delta": delta})
        else:
            block.pending.append(delta)
            self._open(block)
        if self._waiting:
            self._advance()

    def close_all(self) -> None:
        """End every block in its turn."""
        while self._current is not None:
            self._close(self._current)

    def _advance(self) -> None:
        while self._waiting and (self._current is None or self._current.complete()):
            if self._current is not None:
                self._close(self._current)
            else:
                self._next()

    def _next(self) -> None:
        self._current = self._waiting.popleft() if self._waiting else None
        if self._current is not None:
            self._open(self._current)

    def _open(self, block: Block, *, last: bool = False) -> None:
        """Start the current block and write what it has, once it is known how it starts."""
        opening = block.opening(last=last)
        if opening is None:
            return
        self._opened = True
        self.events.append({"type": "content_block_start", "index": self._index, "content_block": opening})
        self._write(block.pending)
        block.pending.clear()

    def _close(self, block: Block) -> None:
        """End the current block, the one place that does, and pass the turn on."""
        if not self._opened:
            self._open(block, last=True)
        if self._opened:
            self._write(block.ending())
            self.events.append({"type": "content_block_stop", "index": self._index})
            self._index += 1
            self._opened = False
        if self.tail is block:
            self.tail = None
        self._next()

    def _write(self, deltas: list[Json]) -> None:
        index = self._index
        self.events.extend(
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        )
