"""A whole chat completion as an Anthropic Message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.chat_stream import ChatStream
from wire.errors import UpstreamFailed
from wire.fold import Fold

if TYPE_CHECKING:
    from wire.answer import AnswerContext
    from wire.messages import Json, Message


def to_message(completion: Json, context: AnswerContext) -> Message:
    """Write the completion as a Message: its stream of one chunk, folded.

    Raises what an error inside the completion means, and UpstreamFailed if it holds no answer.
    """
    choices = completion.get("choices")
    choice = choices[0] if choices and isinstance(choices, list) else None
    if not isinstance(choice, dict) and not completion.get("error"):
        raise UpstreamFailed("the upstream's answer holds no choices", retryable=True)
    stream = ChatStream(context)
    fold = Fold()
    whole = {**completion, "choices": [_numbered(choice)] if isinstance(choice, dict) else []}
    for event in (*stream.feed(whole), *stream.finish(done=True)):
        fold.add(event)
    return fold.message()


def _numbered(choice: Json) -> Json:
    """Give each tool call its place as `index`: in a whole answer, each entry is a call of its own."""
    message = choice.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("tool_calls"), list):
        return choice
    calls = [
        {**call, "index": place} for place, call in enumerate(message["tool_calls"]) if isinstance(call, dict)
    ]
    return {**choice, "message": {**message, "tool_calls": calls}}
