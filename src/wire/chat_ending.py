"""Why a chat answer ended and what it used, in Anthropic's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.tool_calls import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire.messages import Json

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "model_length": "model_context_window_exceeded",  # Mistral
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    # Some backends forward Anthropic's own.
    "max_tokens": "max_tokens",
    "tool_use": "tool_use",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
}
_MANY = 2**53
_NUMBERS = frozenset({int, float})
_NATIVE = {"stop_sequence", "refusal", "model_context_window_exceeded"}
"""Values of OpenRouter's `native_finish_reason` that say more than the `finish_reason` beside them."""


def stop_of(
    choice: Json, stop_sequences: Sequence[str], *, tools: bool, refused: bool
) -> tuple[str, str | None]:
    """Give `stop_reason` and `stop_sequence` of a finished choice.

    `tools` says whether the answer holds a tool call, `refused` whether it holds a refusal's text.
    `tool_use` is said if and only if there is a tool to use; a matched stop string only if the backend tells:
    by a native reason (OpenRouter), or by the string itself in `stop_reason` (vLLM).
    """
    if refused:
        return "refusal", None
    native = text_of(choice.get("native_finish_reason"))
    reason = native if native in _NATIVE else _REASONS.get(text_of(choice.get("finish_reason")), "end_turn")
    matched = text_of(choice.get("stop_reason"))
    if reason == "end_turn" and matched and matched in stop_sequences:
        reason = "stop_sequence"
    if tools and reason in {"end_turn", "stop_sequence", "tool_use"}:
        return "tool_use", None
    if reason == "tool_use":
        return "end_turn", None
    if reason != "stop_sequence":
        return reason, None
    if matched in stop_sequences:
        return reason, matched
    return reason, stop_sequences[0] if len(stop_sequences) == 1 else None


def usage_of(usage: Json) -> Json:
    """Give a chat usage as Anthropic counts: `input_tokens` without what was cached or written to cache."""
    prompt = _object(usage.get("prompt_tokens_details"))
    completion = _object(usage.get("completion_tokens_details"))
    cached = counted(prompt.get("cached_tokens")) or _first(usage, _READS)
    written = _first(prompt, _WRITTEN) or counted(usage.get(_WRITES))
    whole = counted(usage.get("prompt_tokens"))
    apart = whole < cached + written and not any(prompt.values())  # Anthropic's way to count
    told: Json = {
        "input_tokens": whole if apart else max(0, whole - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": counted(usage.get("completion_tokens")),
    }
    if "reasoning_tokens" in completion:
        told["output_tokens_details"] = {"thinking_tokens": counted(completion["reasoning_tokens"])}
    searches = _object(usage.get("server_tool_use")).get("web_search_requests")
    if searches:
        told["server_tool_use"] = {"web_search_requests": counted(searches), "web_fetch_requests": 0}
    return told


def cost_of(usage: Json) -> float | None:
    """Give the dollars that OpenRouter says the answer cost."""
    cost = usage.get("cost")
    return float(cost) if isinstance(cost, (int, float)) else None


_READS = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens")
"""Where cached tokens are told beside OpenAI's place: by Claude on Databricks, DeepSeek, Moonshot."""

_WRITTEN = ("cache_write_tokens", "cache_creation_tokens")
_WRITES = "cache_creation_input_tokens"


def _first(told: Json, names: Sequence[str]) -> int:
    """Give the first count that is more than nothing: some tell one thing in several places."""
    for name in names:
        if name in told and (count := counted(told[name])):
            return count
    return 0


def counted(value: Any) -> int:
    """Give a number of tokens; what is none, or cannot be, is 0."""
    return int(value) if type(value) in _NUMBERS and 0 < value < _MANY else 0


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
