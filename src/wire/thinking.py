"""How much a model thinks: asking for it, forbidding it, and saying it on Anthropic's own wire.

All functions give a new body where they change anything, and the same one where they do not. Why the rules
are as they are: docs/decisions/0012-thinking.md.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from wire.messages import Json

Kind: TypeAlias = Literal["none", "budget", "effort", "foreign"]

SMALLEST_BUDGET = 1024
"""Anthropic's least `budget_tokens`; it must stay below `max_tokens`."""

ROOM = 4096
"""`max_tokens` from which a model may be made to think: below, thinking would eat the answer."""

SHARES = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 0.95}
"""What part of `max_tokens` an effort is on a model that takes budgets only; OpenRouter counts alike."""

_EFFORTS = {"minimal": "low"}
_ASKS = frozenset({"enabled", "adaptive", "between_tools"})
_FORCED = frozenset({"any", "tool"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_SAMPLING = ("temperature", "top_p", "top_k")
_OTHER_APIS = ("reasoning", "reasoning_effort")
_version_of = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[.-](\d{1,2}))?(?!\d)").search


@lru_cache(maxsize=1024)
def kind_of(model: str) -> Kind:
    """Say how a model is told to think, by its name in any backend's spelling.

    Claude before 3.7 cannot; up to 4.5 it takes a budget only, from 4.6 an effort, and from 4.7 on no budget.
    """
    if "claude" not in model:
        return "foreign"
    found = _version_of(model)
    if found is None:
        return "effort"
    version = (int(found[1]), int(found[2] or 0))
    if version < (3, 7):
        return "none"
    return "budget" if version < (4, 6) else "effort"


def effort_of(body: Json) -> str | None:
    """Give the effort asked for, of which a later `role: "system"` message may have the last word."""
    for message in reversed(body["messages"]):
        if message["role"] == "system" and isinstance(message.get("output_config"), dict):
            effort = message["output_config"].get("effort")
            if isinstance(effort, str):
                return effort
    return (body.get("output_config") or {}).get("effort")


def thinks(body: Json) -> bool:
    """Tell whether the request asks for thinking in Anthropic's words."""
    return (body.get("thinking") or {}).get("type") in _ASKS


def is_silent(body: Json) -> bool:
    """Tell whether a request says nothing about thinking, in any API's words."""
    return (
        not body.get("thinking")
        and effort_of(body) is None
        and not any(body.get(name) for name in _OTHER_APIS)
    )


def may_think(body: Json, kind: Kind) -> bool:
    """Tell whether a request that does not ask for thinking can be made to, without being refused for it.

    Anthropic refuses thinking beside a forced tool, a prefilled answer or sampling parameters, and in the
    midst of a tool loop whose assistant message does not begin with a thinking block.
    """
    if body.get("max_tokens", 0) < ROOM or kind == "none":
        return False
    if kind == "foreign":
        return True
    if (body.get("tool_choice") or {}).get("type") in _FORCED:
        return False
    if any(body.get(name) is not None for name in _SAMPLING):
        return False
    return _ends_well(body["messages"])


def _ends_well(messages: list[Any]) -> bool:
    for place in range(len(messages) - 1, -1, -1):
        if messages[place]["role"] == "assistant":
            is_last = all(message["role"] == "system" for message in messages[place + 1 :])
            return not is_last and _may_go_on(messages[place]["content"])
    return True


def _may_go_on(content: Any) -> bool:
    """Tell whether the turn after this assistant message may think: its calls, if any, came from thinking."""
    if type(content) is str or not content or content[0]["type"] in _THOUGHTS:
        return True
    return all(block["type"] != "tool_use" for block in content)


def brings_results(body: Json) -> bool:
    """Tell whether the turn to answer brings tool results."""
    for message in reversed(body["messages"]):
        if message["role"] == "system":
            continue
        content = message["content"]
        return type(content) is list and any(block["type"] == "tool_result" for block in content)
    return False  # pragma: no cover - a checked request has a turn


def with_effort(body: Json, effort: str, kind: Kind) -> Json:
    """Ask for thinking at `effort`, as a budget where the model knows no other way."""
    if kind == "none":
        return body
    if kind == "budget":
        out = with_budget(body, int(SHARES.get(effort, SHARES["medium"]) * body["max_tokens"]))
        return _drop_effort(out) if out is not body else body
    config = {**(body.get("output_config") or {}), "effort": _EFFORTS.get(effort, effort)}
    thinking = body.get("thinking") if thinks(body) else {"type": "adaptive"}
    return {**body, "thinking": thinking, "output_config": config}


def with_budget(body: Json, tokens: int) -> Json:
    """Ask for thinking of some tokens, or as near to that as `max_tokens` allows; it may allow none."""
    tokens = min(max(tokens, SMALLEST_BUDGET), body["max_tokens"] - 1)
    if tokens < SMALLEST_BUDGET:
        return body
    thinking = {"type": "enabled", "budget_tokens": tokens}
    if display := (body.get("thinking") or {}).get("display"):
        thinking["display"] = display
    return {**body, "thinking": thinking}


def without_thinking(body: Json) -> Json:
    """Forbid thinking, and take away what makes sense with it only.

    Thinking blocks of earlier turns stay: Anthropic's API passes over them when a request does not think.
    """
    out = {name: value for name, value in body.items() if name not in _OTHER_APIS}
    out["thinking"] = {"type": "disabled"}
    _drop_effort(out)
    if any(message.get("output_config") for message in body["messages"]):
        changed = [_drop_effort(dict(message)) for message in body["messages"]]
        out["messages"] = [one for one in changed if not _says_nothing(one)]
    return _without_thinking_edits(out)


def without_a_beginning(body: Json, kind: Kind) -> Json:
    """Give a request whose earlier thinking was taken away as Anthropic takes it; the same if it does so.

    It refuses to think within a budget where the calls that are answered now do not come from thinking, or
    the answer goes on from words that do not. Such a request does not think, and says no more than that.
    """
    thinking = body.get("thinking") or {}
    in_budget = thinking.get("type") == "enabled" or (thinks(body) and kind == "budget")
    if not in_budget or _ends_well(body["messages"]):
        return body
    return _without_thinking_edits({**body, "thinking": {"type": "disabled"}})


def _without_thinking_edits(out: Json) -> Json:
    """Take the edits of earlier thinking out of a request that does not think; changes `out`."""
    management = out.get("context_management")
    management = management if isinstance(management, dict) else {}  # for the upstream to refuse
    edits = management.get("edits")
    if isinstance(edits, list):  # an edit of thinking is refused where there is none
        kept = [edit for edit in edits if not str(_type_of(edit)).startswith("clear_thinking_")]
        if len(kept) != len(edits):
            out["context_management"] = {**management, "edits": kept}
    return out


def _says_nothing(message: Json) -> bool:
    """Tell a system message that only said how much to think, and now says nothing."""
    return message["role"] == "system" and not (message.get("content") or message.get("output_config"))


def _type_of(edit: Any) -> Any:
    return edit.get("type") if isinstance(edit, dict) else None


def _drop_effort(holder: Json) -> Json:
    """Take `effort` out of an `output_config`, and that away if nothing else is in it; changes `holder`."""
    config = holder.get("output_config")
    if isinstance(config, dict) and "effort" in config:
        kept = {name: value for name, value in config.items() if name != "effort"}
        if kept:
            holder["output_config"] = kept
        else:
            del holder["output_config"]
    return holder


def from_reasoning(body: Json, reasoning: Json, kind: Kind) -> Json:
    """Say OpenRouter's `reasoning` in Anthropic's words: `thinking` and `output_config.effort`."""
    if kind == "none":
        return body
    effort, tokens = reasoning.get("effort"), reasoning.get("max_tokens")
    if reasoning.get("enabled") is False or effort == "none":
        return {**body, "thinking": {"type": "disabled"}}
    if tokens is not None and kind == "budget":
        out = with_budget(body, tokens)
    elif tokens is not None:
        out = with_effort(body, _effort_for(tokens / body["max_tokens"]), kind)
    elif effort is not None:
        out = with_effort(body, effort, kind)
    elif not reasoning.get("enabled"):
        return body  # says how to show reasoning, and not whether there is any
    elif kind == "budget":
        out = with_effort(body, "medium", kind)
    else:
        out = {**body, "thinking": {"type": "adaptive"}}
    if reasoning.get("exclude") and thinks(out):
        out = {**out, "thinking": {**out["thinking"], "display": "omitted"}}
    return out


def _effort_for(share: float) -> str:
    if share <= SHARES["low"]:
        return "low"
    return "medium" if share <= SHARES["medium"] else "high"
