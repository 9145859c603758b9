"""Which provider a model's name belongs to, where no table knows the name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIORITY: Sequence[str] = ("anthropic", "openai", "google", "cohere", "mistral", "azure", "bedrock")
"""Who goes first where several providers serve a model."""

_OTHER_NAMES = {"gemini": "google", "cohere_chat": "cohere", "bedrock_converse": "bedrock", "aws": "bedrock"}

_RULES = (
    ("bedrock", re.compile(r"arn:aws[a-z-]*:bedrock:")),
    (
        "bedrock",
        re.compile(
            r"(?:(?:us|eu|apac|au|ca|jp|us-gov|global)\.)?"
            r"(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen|writer)\."
        ),
    ),
    ("anthropic", re.compile(r"claude-")),
    ("openai", re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|codex-|computer-use-|o\d+(?:-|$))")),
    ("google", re.compile(r"(?:gemini|gemma|learnlm)-")),
    ("cohere", re.compile(r"(?:command|c4ai)-")),
    (
        "mistral",
        re.compile(
            r"(?:ft:)?(?:open-)?(?:codestral|devstral|magistral|ministral|mistral|mixtral|pixtral|voxtral)-"
        ),
    ),
)


def provider_named(name: str) -> str | None:
    """Give the provider that goes by `name`, ours or LiteLLM's; None for any other."""
    plain = name.strip().lower()
    plain = _OTHER_NAMES.get(plain, plain)
    return plain if plain in PRIORITY else None


def split_name(model: str) -> tuple[str | None, str]:
    """Split a name that begins with its provider's (`azure/my-deployment`); else give None and the name."""
    prefix, slash, rest = model.partition("/")
    provider = provider_named(prefix) if slash and rest else None
    return (provider, rest) if provider is not None else (None, model)


def guessed_provider(model: str) -> str | None:
    """Give the provider that a model's name looks like: new models come before tables know them."""
    plain = model.lower()
    return next((provider for provider, rule in _RULES if rule.match(plain)), None)
