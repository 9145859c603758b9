"""Anthropic's usage as OpenAI counts: `prompt_tokens` holds what was cached and written to cache, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.chat_ending import counted

if TYPE_CHECKING:
    from wire.messages import Json


def chat_usage(usage: Json) -> Json:
    """Give the chat usage; details that the upstream did not tell are left out, nothing is made up."""
    written = counted(usage.get("cache_creation_input_tokens"))
    cached = counted(usage.get("cache_read_input_tokens"))
    prompt = counted(usage.get("input_tokens")) + written + cached
    completion = counted(usage.get("output_tokens"))
    told: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
    }
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    if thought is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": thought}
    for field in ("cost", "server_tool_use"):
        if usage.get(field) is not None:
            told[field] = usage[field]
    return told
