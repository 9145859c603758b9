"""What an upstream's cache read and wrote: as each upstream tells it, and as each client is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.wire.answers import chunk, context
from wire.chat_answer import to_message
from wire.chat_ending import usage_of
from wire.chat_stream import ChatStream
from wire.cohere import cohere_chunk
from wire.gemini_answer import GeminiStream
from wire.messages_bytes import MessagesBytes
from wire.openai_usage import chat_usage
from wire.sse import encode_event

CLAUDE = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
TOLD: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "OpenRouter": (
        CLAUDE | {"prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30}, "cost": 0.1},
        (10, 60, 30),
    ),
    "OpenAI": (CLAUDE | {"prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0}}, (40, 60, 0)),
    "Claude on Databricks": (
        CLAUDE | {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
        (10, 60, 30),
    ),
    "a server that counts as Anthropic does": (
        CLAUDE | {"cache_read_input_tokens": 600, "cache_creation_input_tokens": 30},
        (100, 600, 30),
    ),
    "LiteLLM, Anthropic or Bedrock": (
        CLAUDE
        | {
            "prompt_tokens_details": {
                "cached_tokens": 60,
                "cache_write_tokens": 30,
                "cache_creation_tokens": 30,
                "text_tokens": 10,
            },
            "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 30,
        },
        (10, 60, 30),
    ),
    "LiteLLM, older": (
        CLAUDE | {"prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30}},
        (10, 60, 30),
    ),
    "LiteLLM, Gemini": (
        CLAUDE | {"prompt_tokens_details": {"cached_tokens": 60}, "cache_read_input_tokens": 60},
        (40, 60, 0),
    ),
    "DeepSeek": (CLAUDE | {"prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40}, (40, 60, 0)),
    "Moonshot": (CLAUDE | {"cached_tokens": 60}, (40, 60, 0)),
    "nothing cached": (CLAUDE | {"prompt_tokens_details": {"cached_tokens": 0}}, (100, 0, 0)),
    "no word of a cache": (CLAUDE, (100, 0, 0)),
    "nulls": (
        CLAUDE | {"prompt_tokens_details": {"cached_tokens": None}, "cache_read_input_tokens": None},
        (100, 0, 0),
    ),
    "more cached than there was": (CLAUDE | {"prompt_tokens_details": {"cached_tokens": 101}}, (0, 101, 0)),
}


def three(usage: dict[str, Any]) -> tuple[int, int, int]:
    return (
        usage["input_tokens"],
        usage["cache_read_input_tokens"],
        usage["cache_creation_input_tokens"],
    )


@pytest.mark.parametrize("upstream", TOLD)
def test_a_chat_upstream_s_counts(upstream: str) -> None:
    usage, counts = TOLD[upstream]
    stream = ChatStream(context())
    stream.feed(chunk({"content": "a"}, "stop"))
    stream.feed({"choices": [], "usage": usage})
    streamed = stream.finish()[-2]["usage"]
    whole = to_message(
        {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": usage}, context()
    )
    assert three(streamed) == three(whole["usage"]) == three(usage_of(usage)) == counts


@pytest.mark.parametrize("upstream", TOLD)
def test_an_openai_client_s_counts(upstream: str) -> None:
    usage, (fresh, read, written) = TOLD[upstream]
    told = chat_usage(usage_of(usage))
    assert told["prompt_tokens"] == fresh + read + written
    assert told["total_tokens"] == told["prompt_tokens"] + 5
    assert told["prompt_tokens_details"] == {"cached_tokens": read, "cache_write_tokens": written}
    assert three(usage_of(told)) == (fresh, read, written)


def test_cohere_s_counts() -> None:
    usage = {"tokens": {"input_tokens": 100, "output_tokens": 5}, "cached_tokens": 60.0}
    told = cohere_chunk({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}})
    assert told is not None
    assert three(usage_of(told["usage"])) == (40, 60, 0)


def test_gemini_s_counts() -> None:
    stream = GeminiStream(context())
    counted = {"promptTokenCount": 100, "candidatesTokenCount": 5, "cachedContentTokenCount": 60}
    part = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    stream.feed({"candidates": [part], "usageMetadata": counted})
    assert three(stream.finish()[-2]["usage"]) == (40, 60, 0)


START = {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30}


@pytest.mark.parametrize(
    ("first", "last", "counts"),
    [
        (START | {"output_tokens": 1}, {"output_tokens": 5}, (10, 60, 30)),  # Anthropic
        (START, START | {"output_tokens": 5, "cost": 0.1}, (10, 60, 30)),
        ({"input_tokens": 0, "output_tokens": 0}, START | {"output_tokens": 5}, (10, 60, 30)),  # OpenRouter
        (START, {"output_tokens": 5, "cache_read_input_tokens": None}, (10, 60, 30)),
    ],
)
def test_a_messages_upstream_s_counts(
    first: dict[str, Any], last: dict[str, Any], counts: tuple[int, int, int]
) -> None:
    relay = MessagesBytes("m")
    events = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": first}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last},
        {"type": "message_stop"},
    ]
    out = b"".join(relay.feed(encode_event(event)) for event in events) + relay.finish()
    assert relay.usage is not None
    assert three(relay.usage) == counts
    assert orjson.dumps(last) in out  # the client reads what the upstream wrote
