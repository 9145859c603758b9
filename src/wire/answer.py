"""What the answer's side must know of the request it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from wire.names import ToolNames


class AnswerContext(msgspec.Struct, frozen=True):  # a frozen dataclass takes seven times as long to make
    """The request, as far as its answer depends on it.

    `model` is the name the client asked for and is told; `upstream_model` the one that answers, for
    signatures. `input_estimate` stands in a stream's `message_start`, and nowhere else: `message_delta` tells
    the upstream's true usage, or none.
    `whose_key` names the setting that holds the upstream key, for errors.
    """

    message_id: str
    model: str
    upstream_model: str
    input_estimate: int
    tool_names: ToolNames
    stop_sequences: tuple[str, ...] = ()
    web_search: bool = False
    whose_key: str = "the upstream key"
