"""A whole chat completion as an Anthropic Message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.chat_ending import stop_of, usage_of
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
    if isinstance(choice, dict) and (plain := plain_message(completion, choice, context)) is not None:
        return plain
    return _folded(completion, choice, context)


def plain_message(completion: Json, choice: Json, context: AnswerContext) -> Message | None:
    """Write an answer that is text and nothing else, as most are; None if there is anything besides.

    What its stream gives too, at a quarter of the cost.
    """
    message, reason, usage = choice.get("message"), choice.get("finish_reason"), completion.get("usage")
    if type(message) is not dict or type(reason) is not str or reason in {"", "error"} or context.web_search:
        return None
    text = message.get("content")
    if type(text) is not str or not text or any(_beside_text(message)):
        return None
    if choice.get("error") or choice.get("delta") is not None or completion.get("error"):
        return None
    stop_reason, stop_sequence = stop_of(choice, context.stop_sequences, tools=False, refused=False)
    told = usage_of(usage if type(usage) is dict else {})  # zeros for what nobody tells
    return {
        "id": context.message_id,
        "type": "message",
        "role": "assistant",
        "model": context.model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": told,
    }


def _beside_text(message: Json) -> list[Any]:
    return [value for name, value in message.items() if name not in {"role", "content"}]


def _folded(completion: Json, choice: Any, context: AnswerContext) -> Message:
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
