"""A guess at a request's input tokens, for a stream's `message_start`, before the upstream tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Json

_BYTES_PER_TOKEN = 4
_TOKENS_PER_FILE = 1_600
"""What Claude takes for an image at its largest, and for a page or so of a document."""

_HOLDERS = frozenset({"image", "document", "tool_result"})


def estimate_tokens(body: Json, size: int) -> int:
    """Guess the tokens of a checked Messages request whose body came in `size` bytes.

    Files count by their number, not by their base64. They are looked for where they may stand: to search a
    large body's bytes for the word takes three times as long.
    """
    holders = [
        block
        for message in body["messages"]
        if type(content := message.get("content")) is list
        for block in content
        if block["type"] in _HOLDERS
    ]
    files = [size for block in holders for size in _files(block)]
    return max(1, (size - sum(files)) // _BYTES_PER_TOKEN + len(files) * _TOKENS_PER_FILE)


def _files(block: Json) -> Iterator[int]:
    """Give the bytes of each file that a block holds as base64."""
    source = block if block["type"] == "tool_result" else block["source"]
    if source["type"] == "base64":
        yield len(source["data"])
    elif type(content := source.get("content")) is list:
        for inner in content:
            if inner["type"] in _HOLDERS:
                yield from _files(inner)
