"""Claude Code's billing line in the system prompt.

It differs from request to request. Anthropic's own servers know it; to any other it is the beginning of the
prompt, and no prefix cache would serve twice what comes behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wire.messages import Json

BILLING = "x-anthropic-billing-header:"


def without_billing(text: str) -> str:
    """Give the text without the line, if it begins with one."""
    if not text.startswith(BILLING):
        return text
    return text.partition("\n")[2].lstrip("\n")


def unbilled(body: Json) -> Json:
    """Give the request without the line in its system prompt: the same object if there is none."""
    system = body.get("system") or []
    kept = without_billing(system) if isinstance(system, str) else _unbilled(system)
    if kept == system:
        return body
    made = {**body, "system": kept}
    if not kept:
        del made["system"]
    return made


def _unbilled(blocks: list[Json]) -> list[Json]:
    kept = []
    for block in blocks:
        text = block.get("text")
        if not (isinstance(text, str) and text.startswith(BILLING)):
            kept.append(block)
        elif rest := without_billing(text):
            kept.append({**block, "text": rest})
    return kept
