"""The content blocks of one answer, written one after the other.

An Anthropic stream has one open block at a time; a chat stream may go on with several tool calls at once.
So the block whose turn it is writes through, and those behind it wait with what they have. A block's turn
ends when another one waits and it is complete: text and reasoning always are, a tool call once its arguments
are a JSON object; what is still incomplete when the stream ends, ends then.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import orjson

from wire.errors import UpstreamFailed
from wire.messages import new_id
from wire.reasoning import joined, shown_text
from wire.signature import pack_details

if TYPE_CHECKING:
    from wire.messages import Event, Json
    from wire.names import ToolNames


class Block(Protocol):
    """A block that takes shape: what it gives is taken once."""

    def opening(self, *, last: bool) -> Json | None:
        """Give the block as it starts; None while that is unknown, and at `last` if it is nothing at all."""
        ...

    def take(self) -> list[Json]:
        """Give the deltas that came since the last call."""
        ...

    def ending(self) -> list[Json]:
        """Give the deltas that only the end brings."""
        ...

    def complete(self) -> bool:
        """Say whether the block may end as it is."""
        ...


class TextBlock:
    """Text, and the citations that belong to it."""

    __slots__ = ("citations", "pieces")

    def __init__(self, citations: list[Json]) -> None:
        self.pieces: list[str] = []
        self.citations = citations

    def opening(self, *, last: bool) -> Json | None:  # noqa: ARG002  (Block's)
        return {"type": "text", "text": ""}

    def take(self) -> list[Json]:
        deltas: list[Json] = [{"type": "text_delta", "text": piece} for piece in self.pieces]
        self.pieces.clear()
        return deltas

    def ending(self) -> list[Json]:
        return [{"type": "citations_delta", "citation": citation} for citation in self.citations]

    def complete(self) -> bool:
        return True


class ReasoningBlock:
    """Reasoning: a thinking block as soon as there is text to show, else a redacted one at its end.

    Its details travel to the next turn in the signature, or in the redacted block's data.
    """

    __slots__ = ("_details", "_model", "_plain", "_shown", "_taken")

    def __init__(self, details: list[Json], model: str) -> None:
        self._details = details
        self._model = model
        self._shown: list[str] = []
        self._taken = 0
        self._plain = False

    def add(self, text: str, details: list[Json]) -> None:
        """Take plain `text` and `details`, which usually say the same twice.

        Once text came that no detail held, the text of later details is a repetition.
        """
        shown = shown_text(details)
        self._plain = self._plain or bool(text and not shown)
        self._details.extend(details)
        if piece := text or ("" if self._plain else shown):
            self._shown.append(piece)

    @property
    def shows(self) -> bool:
        """Say whether there is text to show."""
        return bool(self._shown)

    def opening(self, *, last: bool) -> Json | None:
        if self._shown:
            return {"type": "thinking", "thinking": "", "signature": ""}
        data = self._packed() if last else ""
        return {"type": "redacted_thinking", "data": data} if data else None

    def take(self) -> list[Json]:
        fresh = self._shown[self._taken :]
        self._taken = len(self._shown)
        return [{"type": "thinking_delta", "thinking": piece} for piece in fresh]

    def ending(self) -> list[Json]:
        signature = self._packed() if self._shown else ""
        return [{"type": "signature_delta", "signature": signature}] if signature else []

    def complete(self) -> bool:
        return True

    def _packed(self) -> str:
        details = joined(self._details) or [{"type": "reasoning.text", "text": "".join(self._shown)}]
        return pack_details(details, self._model)


class ToolBlock:
    """One tool call. `given` is the id from upstream, if any; `used` holds the ids of this answer."""

    __slots__ = ("_arguments", "_names", "_taken", "_used", "closed", "given", "name", "opened")

    def __init__(self, given: str, names: ToolNames, used: set[str]) -> None:
        self.given = given
        self.name = ""
        self.opened = False
        self.closed = False
        self._arguments: list[str] = []
        self._taken = 0
        self._names = names
        self._used = used

    def add(self, name: str, arguments: str) -> None:
        """Take a piece of the name, of the arguments, or of both; some backends repeat the whole name."""
        if self.closed and arguments.strip():
            raise UpstreamFailed(f"the upstream went on with a finished call of the tool {self.name!r}")
        if name != self.name and not self.opened:
            self.name += name
        if arguments:
            self._arguments.append(arguments)

    def opening(self, *, last: bool) -> Json | None:
        if not self.name:
            if last and self._arguments:
                raise UpstreamFailed("the upstream sent a tool call without a name")
            return None
        if not self._arguments and not last:  # the name may go on
            return None
        self.opened = True
        call_id = self.given
        if not call_id or call_id in self._used:
            call_id = new_id("toolu")
        self._used.add(call_id)
        return {"type": "tool_use", "id": call_id, "name": self._names.original(self.name), "input": {}}

    def take(self) -> list[Json]:
        fresh = self._arguments[self._taken :]
        self._taken = len(self._arguments)
        return [{"type": "input_json_delta", "partial_json": piece} for piece in fresh]

    def ending(self) -> list[Json]:
        self.closed = True
        if any(piece.strip() for piece in self._arguments):
            return []
        return [{"type": "input_json_delta", "partial_json": "{}"}]

    def complete(self) -> bool:
        if not self._arguments or not self._arguments[-1].rstrip().endswith("}"):
            return False
        try:
            orjson.loads("".join(self._arguments))
        except ValueError:
            return False
        return True


class FixedBlock:
    """A block that is whole from its start, such as a search result."""

    __slots__ = ("_block", "_deltas")

    def __init__(self, block: Json, deltas: list[Json]) -> None:
        self._block = block
        self._deltas = deltas

    def opening(self, *, last: bool) -> Json | None:  # noqa: ARG002
        return self._block

    def take(self) -> list[Json]:
        return []

    def ending(self) -> list[Json]:
        return self._deltas

    def complete(self) -> bool:
        return True


class Blocks:
    """The row of blocks; `events` collects what they give, and whoever feeds takes it away."""

    __slots__ = ("_current", "_delta", "_index", "_opened", "_waiting", "events", "tail")

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

    def touched(self, block: Block) -> None:
        """Say that `block` has something new."""
        if block is self._current:
            self._pour()
            if self._waiting:
                self._advance()

    def close_all(self) -> None:
        """End every block in its turn."""
        while self._current is not None or self._waiting:
            self._close()
            self._next()

    def _advance(self) -> None:
        while self._waiting and (self._current is None or self._current.complete()):
            self._close()
            self._next()

    def _next(self) -> None:
        self._current = self._waiting.popleft() if self._waiting else None
        if self._current is not None:
            self._pour()

    def _pour(self, *, last: bool = False) -> None:
        """Write what the current block has, once it is known how it starts."""
        block = self._current
        assert block is not None  # noqa: S101  (for the type checker)
        if not self._opened:
            opening = block.opening(last=last)
            if opening is None:
                return
            self._opened = True
            self.events.append(
                {"type": "content_block_start", "index": self._index, "content_block": opening}
            )
        self._write(block.take())

    def _close(self) -> None:
        """End the current block: the one place that does."""
        if self._current is None:
            return
        self._pour(last=True)
        if self._opened:
            self._write(self._current.ending())
            self.events.append({"type": "content_block_stop", "index": self._index})
            self._index += 1
            self._opened = False
        if self.tail is self._current:
            self.tail = None
        self._current = None

    def _write(self, deltas: list[Json]) -> None:
        index = self._index
        self.events.extend(
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        )
