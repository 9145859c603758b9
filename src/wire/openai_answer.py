"""A finished Message as a chat.completion: the chunks of its stream, folded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wire.openai_stream import OpenAIStream
from wire.reasoning import joined
from wire.told import told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire.messages import Json, Message
    from wire.openai_stream import OpenAIShape


def to_completion(message: Message, shape: OpenAIShape) -> Json:
    """Write the Message as a completion, usage included."""
    stream = OpenAIStream(replace(shape, include_usage=True))
    return fold_chunks(chunk for event in told(message) for chunk in stream.feed(event))


def fold_chunks(chunks: Iterable[Json]) -> Json:
    """Fold the chunks of one answer into its completion, as OpenAI's own accumulator does."""
    completion: Json = {}
    texts: dict[str, list[str]] = {"content": [], "reasoning": []}
    details: list[Json] = []
    annotations: list[Json] = []
    calls: list[Json] = []
    function: Json = {}
    for chunk in chunks:
        if not completion:
            completion = {**chunk, "object": "chat.completion"}
        if "usage" in chunk:
            completion["usage"] = chunk["usage"]
        for choice in chunk["choices"]:
            delta = choice["delta"]
            ended = {name: value for name, value in choice.items() if name != "delta"}
            completion["choices"] = [ended]
            for name, pieces in texts.items():
                pieces.append(delta.get(name) or "")
            details += delta.get("reasoning_details", ())
            annotations += delta.get("annotations", ())
            for piece in delta.get("tool_calls", ()):
                _add_call(calls, piece)
            _add_function(function, delta.get("function_call", {}))
    message: Json = {"role": "assistant", "content": "".join(texts["content"]) or None, "refusal": None}
    more = {
        "reasoning": "".join(texts["reasoning"]),
        "reasoning_details": joined(details),
        "annotations": annotations,
        "tool_calls": calls,
        "function_call": function,
    }
    message |= {name: value for name, value in more.items() if value}
    choice = completion["choices"][0]
    completion["choices"] = [{"index": 0, "message": message, **choice}]
    return completion


def _add_call(calls: list[Json], piece: Json) -> None:
    if piece["index"] == len(calls):
        calls.append({"id": piece["id"], "type": piece["type"], "function": {**piece["function"]}})
    else:
        calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def _add_function(function: Json, piece: Json) -> None:
    for name, text in piece.items():
        function[name] = function.get(name, "") + text
