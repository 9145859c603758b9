"""Which call a piece of `tool_calls` belongs to.

OpenAI's rule is the `index`. Backends break it in every way: index 0 for each of several calls, a new id
with each piece of one call, the id or the name repeated, no index at all. So with an index, a piece begins a
new call if the index is new, or if it brings a name beside another id, or a name after complete arguments.
Without one, a name begins a new call unless its id is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wire.blocks import ToolBlock
from wire.errors import UpstreamFailed

if TYPE_CHECKING:
    from wire.messages import Json
    from wire.names import ToolNames


class ToolCalls:
    """The tool calls of one answer, by index and by id."""

    __slots__ = ("_by_id", "_by_index", "_last", "_names", "_used")

    def __init__(self, names: ToolNames) -> None:
        self._names = names
        self._by_index: dict[int, ToolBlock] = {}
        self._by_id: dict[str, ToolBlock] = {}
        self._last: ToolBlock | None = None
        self._used: set[str] = set()

    def __bool__(self) -> bool:
        """Say whether a tool block was written."""
        return bool(self._used)

    def find(self, piece: Json, name: str) -> tuple[ToolBlock, bool]:
        """Give the block that the piece belongs to, and whether it is new."""
        index = piece.get("index")
        given = text_of(piece.get("id"))
        known = self._known(index, given, name)
        block = known or ToolBlock(given, self._names, self._used)
        if isinstance(index, int):
            self._by_index[index] = block
        if given:
            block.given = block.given or given
            self._by_id[given] = block
        self._last = block
        return block, known is None

    def _known(self, index: Any, given: str, name: str) -> ToolBlock | None:
        if isinstance(index, int):
            block = self._by_index.get(index)
            if block is None or not name:
                return block
            another = given != block.given if given and block.given else block.complete()
            return None if another else block
        if given:
            block = self._by_id.get(given)
            return None if block is None or (name and block.complete()) else block
        return None if name else self._last


def function_of(piece: Json) -> tuple[str, str]:
    """Give the name and the arguments that the piece holds, as far as it does."""
    function = piece.get("function")
    if not isinstance(function, dict):
        return "", ""
    return text_of(function.get("name")), arguments_of(function.get("arguments"))


def arguments_of(value: Any) -> str:
    """Give arguments as the JSON text they should be; some backends send the object itself."""
    if not isinstance(value, dict):
        return text_of(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:  # nested deeper than orjson writes
        raise UpstreamFailed("the model called a tool with arguments nested too deep") from error


def text_of(value: Any) -> str:
    """Give the value if it is text, and "" for null and everything else."""
    return value if isinstance(value, str) else ""
