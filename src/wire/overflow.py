"""Context overflow, in every backend's own words."""

from __future__ import annotations

import re

_WORDING = "prompt is too long"
_N = r"(\d[\d,_]*)"

_BOTH = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # Each names the tokens `got` and the `limit`; the first that is found wins.
        # Anthropic, Databricks with Claude
        rf"prompt is too long: (?P<got>{_N}) tokens > (?P<limit>{_N})",
        # OpenAI, OpenRouter, DeepSeek, vLLM
        (
            rf"maximum context length is (?P<limit>{_N}) tokens.{{0,40}}?(?:requested(?: about)?|resulted in"
            rf"|has) (?P<got>{_N})"
        ),
        # vLLM, older; SGLang
        rf"prompt \(length (?P<got>{_N})\) is longer than the maximum model length of (?P<limit>{_N})",
        (
            rf"input (?:length )?\(?(?P<got>{_N})(?: tokens)?\)?.{{0,40}}?(?:exceeds|longer than)"
            rf" (?:the )?model's (?:maximum )?context length \(?(?P<limit>{_N})"
        ),
        # Google
        rf"input token count \(?(?:is )?(?P<got>{_N})\)?.{{0,60}}?(?:allowed|up to) \(?(?P<limit>{_N})",
        # llama.cpp
        rf"request \((?P<got>{_N}) tokens\) exceeds the available context size \((?P<limit>{_N})",
        # Mistral
        rf"contains (?P<got>{_N}) tokens.{{0,60}}?too large for model with (?P<limit>{_N})",
        # xAI
        rf"maximum prompt length is (?P<limit>{_N}) but the request contains (?P<got>{_N})",
        # Cohere
        rf"cannot exceed (?P<limit>{_N}) - received (?P<got>{_N})",
        # Fireworks
        rf"prompt is too long: (?P<got>{_N}), model maximum context length: (?P<limit>{_N})",
        # Moonshot
        rf"exceeded model token limit: (?P<limit>{_N}) \(requested: (?P<got>{_N})",
        # Cerebras
        rf"current length is (?P<got>{_N}) while limit is (?P<limit>{_N})",
        # GitHub Models
        rf"prompt token count of (?P<got>{_N}) exceeds the limit of (?P<limit>{_N})",
        # Together
        rf"must be <= (?P<limit>{_N})\. Given: (?P<got>{_N}) `inputs` tokens",
    )
)

_SIGNS = re.compile(
    r"prompt (?:is )?too long"
    r"|(?:input|prompt|request) is too long for (?:the )?requested model"  # Bedrock
    r"|context[ _]length[ _]exceeded"
    r"|maximum context length"
    r"|exceed_context_size"
    r"|exceeds? the (?:available )?(?:model's )?(?:maximum )?context (?:size|window|length|limit)"
    r"|exceeds? (?:the )?(?:model's )?context (?:size|window|length|limit)"
    r"|context (?:window|length) exceed"
    r"|input token count .{0,40}exceeds"
    r"|range of input length should be"  # Alibaba
    r"|reduce the length of (?:the |your )?(?:messages|input|prompt)",
    re.IGNORECASE | re.DOTALL,
)

_NOT_THE_PROMPT = re.compile(
    r"input length and `max_tokens` exceed context limit"  # Anthropic's: Claude Code asks for fewer tokens
    r"|max_(?:completion_)?tokens'? (?:or '?max_completion_tokens'? )?is too large",  # OpenAI's, vLLM's
    re.IGNORECASE,
)


def overflow_message(text: str) -> str | None:
    """Give the wording on which Claude Code compacts, if `text` says that the prompt is too long.

    With both numbers it is Anthropic's own; without, it begins as Anthropic's and goes on with the
    backend's words, for no number is made up.
    """
    if _NOT_THE_PROMPT.search(text):
        return None
    for pattern in _BOTH:
        if found := pattern.search(text):
            got, limit = _number(found["got"]), _number(found["limit"])
            return f"{_WORDING}: {got} tokens > {limit} maximum"
    if _SIGNS.search(text):
        begins = text.lower().startswith(_WORDING)
        return _WORDING + text[len(_WORDING) :] if begins else f"{_WORDING}: {text}"
    return None


def is_anthropic_overflow(text: str) -> bool:
    """Say whether `text` is already what Claude Code acts on."""
    return "prompt is too long: " in text or "input length and `max_tokens` exceed context limit" in text


def _number(digits: str) -> int:
    return int(digits.replace(",", "").replace("_", ""))
