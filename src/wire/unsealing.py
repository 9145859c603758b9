"""Taking Headgate's own signatures out of a conversation that goes to Anthropic's servers.

They carry a chat backend's reasoning to its next turn (`wire.signature`). To who checks signatures they are
forgeries, and the whole request is refused for one of them.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

from wire.chat_parts import NO_CONTENT
from wire.interning import SharedMessage
from wire.signature import MARK
from wire.thinking import kind_of, without_a_beginning

if TYPE_CHECKING:
    from wire.messages import Json


def unsealed(body: Json, model: str) -> Json:
    """Leave out the thinking that Headgate signed; the same body if there is none. `model` is the target's.

    If the calls that are answered now lose their thinking, the request does not think: it would be refused.
    """
    messages = body["messages"]
    if not any(map(_may_be_sealed, messages)):
        return body
    kept = [_unsealed(message) for message in messages]
    if all(map(is_, kept, messages)):
        return body
    if len(kept) > 1 and kept[-1]["content"] == NO_CONTENT and kept[-1] is not messages[-1]:
        kept.pop()  # or the answer would go on from these words
    return without_a_beginning({**body, "messages": kept}, kind_of(model))


def _may_be_sealed(message: Json) -> bool:
    """Tell at once for a message that requests share: a long conversation is not searched at every turn."""
    return message.sealed if type(message) is SharedMessage else message["role"] == "assistant"


def _unsealed(message: Json) -> Json:
    content = message.get("content")
    if not (_may_be_sealed(message) and isinstance(content, list)):
        return message
    kept = [block for block in content if not _is_sealed(block)]
    return message if len(kept) == len(content) else {**message, "content": kept or NO_CONTENT}


def _is_sealed(block: Json) -> bool:
    match block["type"]:
        case "thinking":
            return str(block.get("signature")).startswith(MARK)
        case "redacted_thinking":
            return str(block["data"]).startswith(MARK)
        case _:
            return False
