"""Builders for tests of OpenAI answers, and the openai SDK as the oracle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
from openai import OpenAI, Stream
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from wire.openai_stream import OpenAIShape, OpenAIStream
from wire.sse import SseDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire.messages import Event, Json

SHAPE = OpenAIShape(model="claude-test", created=1_763_942_400, include_usage=True)


def rendered(events: Iterable[Event], shape: OpenAIShape = SHAPE) -> list[Json]:
    stream = OpenAIStream(shape)
    return [chunk for event in events for chunk in stream.feed(event)]


def chunks_of(data: bytes) -> list[Json]:
    """Read back OpenAI SSE bytes, which end with [DONE]."""
    frames = [frame.data for frame in SseDecoder().feed(data)]
    assert frames.pop() == b"[DONE]"
    return [json.loads(frame) for frame in frames]


def sdk_chunks(data: bytes) -> list[ChatCompletionChunk]:
    """Give what the openai SDK reads from a stream's bytes."""
    with OpenAI(api_key="none", base_url="http://127.0.0.1:9", max_retries=0) as client:
        asked = httpx.Request("POST", "http://127.0.0.1:9/chat/completions")
        response = httpx.Response(
            200, content=data, headers={"content-type": "text/event-stream"}, request=asked
        )
        stream: Stream[ChatCompletionChunk] = Stream(
            cast_to=ChatCompletionChunk, response=response, client=client
        )
        return list(stream)


def sdk_completion(chunks: Iterable[ChatCompletionChunk]) -> Json:
    """Give what the openai SDK makes of the chunks, without what it adds and without nulls."""
    state: Any = ChatCompletionStreamState()
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.to_dict(), strict=True)
        state.handle_chunk(chunk)
    completion = state.get_final_completion()
    ChatCompletion.model_validate(completion.to_dict())
    made: Json = plain(json.loads(completion.to_json()))
    for choice in made["choices"]:
        for call in choice["message"].get("tool_calls", ()):
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
    return made


def plain(value: Any) -> Any:
    """Leave out nulls, which mean nothing in a completion."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if one is not None}
    return [plain(one) for one in value] if isinstance(value, list) else value
