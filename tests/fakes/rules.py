"""Which scripted reply answers which request, and what the fake remembers of it.

A rule is a reply (see `replies`) with two more keys:

    when   path     "chat", "messages", "count_tokens", "models"
           model    a regular expression
           user     in the text of the last user message;  system  in the system prompt
           any      anywhere in the body's JSON
           tool_result  whether the turn to answer begins with tool results
           tool     the name of a tool on offer
           main     whether tools are on offer: tells Claude Code's real turns from its side requests
           stream   whether a stream is asked for
    times  how often it answers (1); 0 is for ever

The first rule that matches and is not used up answers, else a plain default. If the script was set with
`main_only`, rules without `when` answer main requests only.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.replies import Json

DEFAULT: Json = {"text": "Fine."}


def text_of(content: Any) -> str:
    """Read the text of a message's content on either wire, tool results included."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text_of(block.get("text") or block.get("content") or "") for block in content)
    return ""


def last_user_text(body: Json) -> str:
    """Read the last user message, in spite of system and tool messages behind it."""
    for message in reversed(body.get("messages", [])):
        if message.get("role") == "user":
            text = text_of(message.get("content"))
            if text:
                return text
    return ""


def tool_names(body: Json) -> list[str]:
    tools = body.get("tools") or []
    return [tool.get("name") or tool.get("function", {}).get("name", "") for tool in tools]


def system_text(body: Json) -> str:
    texts = [text_of(body.get("system"))]
    texts.extend(text_of(m.get("content")) for m in body.get("messages", []) if m.get("role") == "system")
    return "\n".join(texts)


def answers_tools(body: Json) -> bool:
    """Tell whether the turn to answer begins with tool results: no assistant message comes after them."""
    for message in reversed(body.get("messages", [])):
        if message.get("role") == "tool":
            return True
        if message.get("role") == "assistant":
            return False
        content = message.get("content")
        if isinstance(content, list) and any(block.get("type") == "tool_result" for block in content):
            return True
    return False


@dataclass
class Seen:
    """One request as the fake saw it."""

    path: str
    method: str
    query: str
    headers: dict[str, str]
    body: Any
    size: int
    started: float = field(default_factory=time.monotonic)
    answered_by: str = ""
    complaint: str = ""
    closed_early: bool = False
    closed_after: float | None = None
    finished: bool = False

    def close(self) -> None:
        self.closed_early = True
        self.closed_after = time.monotonic() - self.started


def matches(when: Json, seen: Seen) -> bool:
    body = seen.body if isinstance(seen.body, dict) else {}
    checks: dict[str, Callable[[Any], bool]] = {
        "path": lambda wanted: seen.path == wanted,
        "model": lambda wanted: bool(re.search(wanted, str(body.get("model", "")))),
        "user": lambda wanted: wanted in last_user_text(body),
        "system": lambda wanted: wanted in system_text(body),
        "any": lambda wanted: wanted in json.dumps(body, ensure_ascii=False),
        "tool_result": lambda wanted: answers_tools(body) == wanted,
        "tool": lambda wanted: wanted in tool_names(body),
        "main": lambda wanted: bool(tool_names(body)) == wanted,
        "stream": lambda wanted: bool(body.get("stream")) == wanted,
    }
    return all(checks[name](wanted) for name, wanted in when.items())


class Script:
    """The rules in order, with what is left of each."""

    def __init__(self, rules: list[Json], *, main_only: bool = False) -> None:
        self.rules = rules
        self.left = [rule.get("times", 1) or float("inf") for rule in rules]
        self.main_only = main_only

    def reply_for(self, seen: Seen) -> Json | None:
        """Give the reply, None if no rule fits; the rule's use is counted."""
        for index, rule in enumerate(self.rules):
            when = dict(rule.get("when", {}))
            if "path" not in when and seen.path in ("count_tokens", "models", "key"):
                continue
            if self.main_only and "when" not in rule:
                when["main"] = True
            if self.left[index] > 0 and matches(when, seen):
                self.left[index] -= 1
                seen.answered_by = rule.get("name", f"rule {index}")
                return rule
        return None
