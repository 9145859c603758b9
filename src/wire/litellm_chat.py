"""Between our chat dialect (OpenRouter's, the richest) and LiteLLM's arguments and chunks.

LiteLLM turns a chat request into a provider's own and its stream back. What it has no form for it refuses
(`drop_params` is off); what it would do beyond that is undone here: it invents ids, counts reasoning itself,
and fetches images by address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.errors import UnsupportedContent
from wire.tool_calls import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Json

COHERE = "cohere_chat"
"""LiteLLM's name for Cohere's chat."""

CHAT_WIRES = frozenset({"azure", "openai", "openrouter"})
"""Whose answers are chat answers as they are: LiteLLM's readers would only lose some of them."""

CARRIED = frozenset(
    {
        "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "messages",
        "modalities", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
        "response_format", "seed", "stop", "temperature", "tool_choice", "tools", "top_logprobs", "top_p",
        "verbosity",
    }
)  # fmt: skip
"""Fields that go as they are if LiteLLM has a form for them on the provider's wire, and else are refused."""

LEFT_OUT = {
    "model": "named apart",
    "stream": "said apart",
    "stream_options": "said apart: usage is always asked for",
    "usage": "OpenRouter's way to ask for usage",
    "cache_control": "a hint; breakpoints on blocks are kept where the provider has them",
    "service_tier": "a wish for more haste, where LiteLLM has no form for it",
    "user": "who is asking, where LiteLLM has no form for it",
    "session_id": "OpenRouter's bookkeeping",
    "trace": "OpenRouter's bookkeeping",
    "debug": "OpenRouter's bookkeeping",
}
"""Fields that change nothing about the answer: they go where LiteLLM supports them, and nowhere else."""

_TOP_K = {"anthropic": "top_k", "bedrock": "top_k", "gemini": "top_k", COHERE: "k"}
_SIGNS_THINKING = frozenset({"anthropic", "bedrock"})
_INVENTS_IDS = frozenset({"anthropic", "bedrock"})
_GUESSES_REASONING = frozenset({"anthropic", "bedrock"})
_FETCHES = {"anthropic": ("http:",), "bedrock": ("http:", "https:"), "gemini": ("http:", "https:")}
_MADE_UP_SIGNATURE = "mistral"
_EFFORTS = {"xhigh": "high", "max": "high"}
_EFFORT_OF_BUDGET = ((16_384, "high"), (4_096, "medium"), (0, "low"))


# ---- requests ----


def call_arguments(chat: Json, provider: str, supported: frozenset[str]) -> Json:
    """Give LiteLLM's arguments for a chat request in our dialect.

    `provider` is LiteLLM's name for it; `supported` are the parameters it has a form for with this model.
    Raises UnsupportedContent with the field's name, or the path within `messages`, for what has none.
    """
    if provider == "openrouter":
        return _openrouter_arguments(chat, supported)
    arguments: Json = {"messages": _messages(chat["messages"], provider)}
    for field, value in chat.items():
        if field in ("messages", "reasoning", "reasoning_effort"):
            continue
        if field in CARRIED or (field in LEFT_OUT and field in supported and field not in _APART):
            arguments[field] = value
        elif field == "top_k" and provider in _TOP_K:
            arguments[_TOP_K[provider]] = value
        elif field not in LEFT_OUT:
            raise UnsupportedContent(f"{field}: LiteLLM has no form for it on the wire of {provider}")
    if arguments.get("parallel_tool_calls") is True and "parallel_tool_calls" not in supported:
        del arguments["parallel_tool_calls"]  # what every provider does anyway
    for field in arguments.keys() & CARRIED - supported - {"messages"}:
        raise UnsupportedContent(f"{field}: LiteLLM has no form for it on the wire of {provider}")
    return arguments | _reasoning(chat, supported)


_APART = frozenset({"model", "stream", "stream_options"})


_NOT_IN_A_BODY = frozenset({"extra_headers", "max_retries"})
"""Arguments that say how LiteLLM calls. That is for no client to say: in a body they are but fields."""


def _openrouter_arguments(chat: Json, supported: frozenset[str]) -> Json:
    """OpenRouter is sent the request as it is: what LiteLLM does not know goes in `extra_body`."""
    told = {name: value for name, value in chat.items() if name not in _APART}
    extra = {name: told.pop(name) for name in told.keys() - (supported - _NOT_IN_A_BODY) - {"messages"}}
    return {**told, "extra_body": extra} if extra else told


def _reasoning(chat: Json, supported: frozenset[str]) -> Json:
    """Ask for reasoning as the model takes it. A model that cannot reason is not asked to."""
    reasoning = chat.get("reasoning") or {}
    effort = chat.get("reasoning_effort") or reasoning.get("effort")
    budget = reasoning.get("max_tokens")
    if isinstance(budget, int) and "thinking" in supported:
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if "reasoning_effort" not in supported:
        return {}
    if isinstance(budget, int):
        effort = next(name for least, name in _EFFORT_OF_BUDGET if budget >= least or not least)
    elif effort is None and reasoning.get("enabled"):
        effort = "medium"
    if not isinstance(effort, str) or effort == "none":
        return {}
    return {"reasoning_effort": _EFFORTS.get(effort, effort)}


def _messages(messages: list[Json], provider: str) -> list[Json]:
    """Give messages with earlier thinking in LiteLLM's form, where the provider takes it back."""
    _refuse_fetching(messages, provider)
    told = []
    for message in messages:
        plain = {name: value for name, value in message.items() if name != "reasoning_details"}
        if provider in _SIGNS_THINKING and (blocks := list(_thinking_blocks(message))):
            plain["thinking_blocks"] = blocks
        told.append(plain)
    return told


def _thinking_blocks(message: Json) -> Iterator[Json]:
    for detail in message.get("reasoning_details") or ():
        if detail.get("signature"):
            text = detail.get("text") or ""
            yield {"type": "thinking", "thinking": text, "signature": detail["signature"]}
        elif detail.get("data"):
            yield {"type": "redacted_thinking", "data": detail["data"]}


def _refuse_fetching(messages: list[Json], provider: str) -> None:
    """Refuse images that LiteLLM would fetch itself: addresses that a client names are not ours to visit."""
    schemes = _FETCHES.get(provider)
    if schemes is None:
        return
    for place, message in enumerate(messages):
        content = message.get("content")
        for part_place, part in enumerate(content if isinstance(content, list) else ()):
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            if isinstance(url, str) and url.lower().startswith(schemes):
                raise UnsupportedContent(
                    f"messages.{place}.content.{part_place}: {provider} takes images as base64 here, "
                    "not by address"
                )


# ---- answers ----


def chat_chunk(chunk: Json, provider: str) -> Json:
    """Give a chunk of LiteLLM's, dumped without nulls, as a chat chunk: reasoning as `reasoning_details`."""
    return _told(chunk, provider, "delta")


def chat_completion(completion: Json, provider: str) -> Json:
    """Give a whole completion of LiteLLM's, dumped, likewise."""
    return _told(completion, provider, "message")


def _told(answer: Json, provider: str, place: str) -> Json:
    told = {name: value for name, value in answer.items() if value not in _NOTHING}
    if provider in _INVENTS_IDS:
        told.pop("id", None)
    usage = told.get("usage")
    if isinstance(usage, dict):
        told["usage"] = _usage(usage, provider)
    told["choices"] = [
        {**choice, place: _delta(choice.get(place) or {})} for choice in answer.get("choices") or ()
    ]
    return told


_NOTHING: tuple[Any, ...] = (None, [], {}, "")
_TOLD_TWICE = frozenset({"thinking_blocks", "reasoningContent", "thought_signatures"})


def _usage(usage: Json, provider: str) -> Json:
    told = dict(usage)
    if provider in _GUESSES_REASONING:
        told.pop("completion_tokens_details", None)
    return told


def _delta(delta: Json) -> Json:
    told = dict(delta)
    blocks = told.pop("thinking_blocks", None)
    if details := [_detail(block) for block in blocks or ()]:
        told["reasoning_details"] = details
        told["reasoning"] = told.pop("reasoning_content", "")
    if isinstance(specific := told.get("provider_specific_fields"), dict):
        told["provider_specific_fields"] = {k: v for k, v in specific.items() if k not in _TOLD_TWICE}
    return {name: value for name, value in told.items() if name == "content" or value not in _NOTHING}


def _detail(block: Json) -> Json:
    if block.get("type") == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": block.get("data")}
    detail: Json = {"type": "reasoning.text", "text": text_of(block.get("thinking"))}
    signature = block.get("signature")
    if signature and signature != _MADE_UP_SIGNATURE:
        detail["signature"] = signature
    return detail
