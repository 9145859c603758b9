"""Forty turns of a session as Claude Code has them, request by request."""

from __future__ import annotations

import copy
from typing import Any

from tests.wire.requests import EPHEMERAL, PNG, assistant, call, image, result, system, text, tool, user
from wire.signature import pack_details

TURNS = 40
MODEL = "anthropic/claude-sonnet-4"
LONG = "mcp__claude_in_chrome_extension__" + "a_tool_with_a_name_beyond_measure" * 2
LOADED_AT = {12: "NotebookEdit", 25: "Grep"}


def requests(*, marked: bool) -> list[dict[str, Any]]:
    """Give the body of each turn; `marked` with Claude Code's breakpoints, else with none at all."""
    history: list[dict[str, Any]] = []
    tools = [tool(name, {"type": "object", "properties": {"path": {"type": "string"}}})
             for name in ("Bash", "Read", "Write", LONG)]  # fmt: skip
    made = []
    for turn in range(TURNS):
        history += _said(turn)
        if (loaded := LOADED_AT.get(turn - 1)) is not None:
            tools.append(tool(loaded, defer_loading=True))
            tools.sort(key=lambda one: one["name"])
        made.append(_request(turn, history, tools, marked=marked))
    return made


def _request(
    turn: int, history: list[dict[str, Any]], tools: list[dict[str, Any]], *, marked: bool
) -> dict[str, Any]:
    rules = [text(f"x-anthropic-billing-header: cc_version=2.1.330; cch={turn:05x};"),
             text("You are Claude Code. " * 20), text("These are the rules. " * 400)]  # fmt: skip
    messages = copy.deepcopy(history)
    if marked:
        rules[1]["cache_control"] = EPHEMERAL
        rules[2]["cache_control"] = EPHEMERAL | {"ttl": "1h", "scope": "global"}
        _mark(messages[-1])
    if turn % 7 == 3:  # is gone again with the next turn
        messages.append(system(f"<reminder {turn}>", clear_at="next_user_message"))
    return {
        "model": MODEL,
        "max_tokens": 32_000,
        "stream": True,
        "system": rules,
        "tools": copy.deepcopy(tools),
        "messages": messages,
        "metadata": {"user_id": '{"session_id":"s"}'},
        "thinking": {"type": "enabled", "budget_tokens": 8000},
    }


def _mark(message: dict[str, Any]) -> None:
    """Put the breakpoint on the last block; a string becomes a block only for that, as with Claude Code."""
    if isinstance(message["content"], str):
        message["content"] = [text(message["content"])]
    message["content"][-1]["cache_control"] = EPHEMERAL


def _said(turn: int) -> list[dict[str, Any]]:
    """Give what is new in a turn: an assistant's message, if there was one, and what answers it."""
    if turn == 0:
        return [user("<system-reminder>Be kind.</system-reminder>", "Look at the project, please.")]
    before = f"toolu_{turn}"
    if (loaded := LOADED_AT.get(turn)) is not None:
        reference = {"type": "tool_reference", "tool_name": loaded}
        return [assistant(call(before, "ToolSearch", query=loaded)), user(result(before, reference))]
    match turn % 6:
        case 0:
            return [assistant(f"Done with step {turn}."), user(f"Go on with step {turn + 1}.")]
        case 1:
            return [
                assistant(_thought(turn), text("I will read it."), call(before, "Read", path=f"/{turn}")),
                user(result(before, f"contents of {turn}")),
            ]
        case 2:
            return [
                assistant(
                    text("Two things"), text(" at once."), call(f"{before}a"), call(f"{before}b", LONG)
                ),
                user(result(f"{before}b", image(PNG), text("a picture")), result(f"{before}a", "text")),
            ]
        case 3:
            return [
                assistant(call(before, "Bash", path="ls"), text("and a word after the call")),
                user(result(before, is_error=True)),
                system("The file changed on disk."),
            ]
        case 4:
            return [
                assistant(_thought(turn), text("Hm.")),
                user(text("What is this?"), image(PNG)),
            ]
        case _:
            return [
                assistant(_thought(turn), call(before, "Write", path=f"/{turn}")),
                user(result(before, text("part one"), text("part two")), text("<system-reminder>ok")),
            ]


def _thought(turn: int) -> dict[str, Any]:
    detail = {"type": "reasoning.text", "text": f"thinking {turn}", "signature": f"sig{turn}"}
    return {"type": "thinking", "thinking": f"thinking {turn}", "signature": pack_details([detail], MODEL)}
