"""Rules from the model names that clients use to the names that backends use."""

from __future__ import annotations

import re

_CONTEXT_SUFFIX = re.compile(r"\[\d+[km]\]$")
_RELEASE_SUFFIX = re.compile(r"(?:[-@]\d{8}|-latest)?(?:-v\d+(?::\d+)?)?$")
_VERSION = re.compile(r"-(\d{1,2})-(\d{1,2})(?=-|$)")
_CLAUDE = re.compile(r"^(?:[a-z]{2,6}\.)?(?:anthropic\.)?(claude-[a-z0-9.@:\-]+)$")


def strip_context_suffix(name: str) -> str:
    """Drop Claude Code's own notation for a larger context window (`claude-sonnet-4-5[1m]`)."""
    return _CONTEXT_SUFFIX.sub("", name)


def claude_base_name(name: str) -> str | None:
    """Reduce any form of a Claude name to family and version, the version with a dot.

    `claude-3-7-sonnet-20250219` gives `claude-3.7-sonnet`, `claude-opus-4-6` gives
    `claude-opus-4.6`; Bedrock's and Vertex's forms are understood. None if it is no Claude name.
    """
    match = _CLAUDE.match(name.lower())
    if match is None:
        return None
    # Release .0 has no number of its own: claude-sonnet-4-0 is claude-sonnet-4.
    return _VERSION.sub(r"-\1.\2", _RELEASE_SUFFIX.sub("", match[1])).removesuffix(".0")


def openrouter_name(name: str) -> str | None:
    """Give OpenRouter's name for a client's model name, or None if no rule knows it.

    A name with a slash is OpenRouter's already, but for a Claude name in another form behind
    `anthropic/` (`anthropic/claude-sonnet-4-5` gives `anthropic/claude-sonnet-4.5`).
    """
    name = strip_context_suffix(name.strip())
    vendor, slash, rest = name.partition("/")
    if slash:
        if not vendor or not rest:
            return None
        base = claude_base_name(rest) if vendor == "anthropic" else None
        return f"anthropic/{base}" if base else name
    base = claude_base_name(name)
    return f"anthropic/{base}" if base else None


def anthropic_name(name: str) -> str | None:
    """Give Anthropic's name for a client's model name, or None if it is no Claude name.

    Anthropic's own names pass as they are, dates and all; other forms are rewritten in its style:
    `anthropic/claude-sonnet-4.5` gives `claude-sonnet-4-5`, `claude-sonnet-4` its alias
    `claude-sonnet-4-0`, `claude-3.7-sonnet` gives `claude-3-7-sonnet-latest`.
    """
    plain = strip_context_suffix(name.strip()).removeprefix("anthropic/")
    base = claude_base_name(plain)
    if base is None:
        return None
    if _OWN_NAME.match(plain):
        return plain
    hyphened = base.replace(".", "-")
    if _OLD_STYLE.match(hyphened):
        return f"{hyphened}-latest"
    return f"{hyphened}-0" if _LONE_FOUR.search(hyphened) else hyphened


def databricks_name(name: str) -> str:
    """Give the name of Databricks' endpoint for a Claude name; any other name is one already.

    `claude-3-7-sonnet-20250219` gives `databricks-claude-3-7-sonnet`.
    """
    plain = strip_context_suffix(name.strip())
    base = claude_base_name(plain.removeprefix("anthropic/"))
    return plain if base is None else f"databricks-{base.replace('.', '-')}"


# Dated names, and those with -latest: nothing that has a dot, a Bedrock form or a vendor in front.
_OWN_NAME = re.compile(r"^claude-[a-z0-9\-]+-(?:\d{8}|latest)$")
_OLD_STYLE = re.compile(r"^claude-\d")
# The fourth generation's first models have an alias with a zero; later whole numbers have none.
_LONE_FOUR = re.compile(r"^claude-(?:opus|sonnet)-4$")
