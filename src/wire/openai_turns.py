"""Chat messages as Anthropic's turns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wire.chat_parts import NO_CONTENT
from wire.openai_check import parsed_arguments
from wire.openai_parts import blocks_of
from wire.reasoning import details_of, joined, shown_text
from wire.signature import pack_details

if TYPE_CHECKING:
    from wire.messages import Json
    from wire.openai_parts import Unsupported

ANTHROPIC_FORMAT = "anthropic-claude-v1"
"""OpenRouter's name for the form of Anthropic's own reasoning, signature and all."""

_odd = re.compile(r"[^a-zA-Z0-9_-]").sub


def turns_of(messages: list[Json], model: str, unsupported: Unsupported) -> tuple[list[Json], list[Json]]:
    """Give the blocks of the system prompt, and the messages.

    System and developer messages at the head are the system prompt; later ones keep their place. Adjacent
    tool messages become one user's message of results.
    """
    turns = Turns(model, unsupported)
    for place, message in enumerate(messages):
        turns.add(message, f"messages.{place}")
    return turns.system, turns.messages


class Turns:
    """Takes chat messages in their order."""

    __slots__ = ("_function_id", "_model", "_results", "_unsupported", "messages", "system")

    def __init__(self, model: str, unsupported: Unsupported) -> None:
        self.system: list[Json] = []
        self.messages: list[Json] = []
        self._model = model
        self._unsupported = unsupported
        self._results: list[Json] | None = None  # of the user's message that tool messages go on with
        self._function_id = ""

    def add(self, message: Json, at: str) -> None:
        """Add one message."""
        match message["role"]:
            case "tool":
                self._answer(tool_id(message["tool_call_id"]), message["content"], f"{at}.content")
                return
            case "function":
                self._answer(self._function_id, message.get("content") or "", f"{at}.content")
                return
            case "assistant":
                content = self._said(message, at)
                self.messages.append({"role": "assistant", "content": _simplest(content)})
            case "user":
                content = self._blocks(message["content"], f"{at}.content")
                if message.get("name"):  # which of several users speaks
                    content.insert(0, {"type": "text", "text": f"{message['name']}:"})
                self.messages.append({"role": "user", "content": _simplest(content)})
            case _:
                self._instruct(self._blocks(message["content"], f"{at}.content"))
        self._results = None

    def _instruct(self, blocks: list[Json]) -> None:
        if not self.messages:
            self.system += blocks
        elif blocks:
            self.messages.append({"role": "system", "content": _simplest(blocks)})

    def _answer(self, identity: str, content: str | list[Json], at: str) -> None:
        result: Json = {"type": "tool_result", "tool_use_id": identity}
        if blocks := self._blocks(content, at):
            result["content"] = _simplest(blocks)
        if self._results is None:
            self._results = []
            self.messages.append({"role": "user", "content": self._results})
        self._results.append(result)

    def _said(self, message: Json, at: str) -> list[Json]:
        """Render what an assistant thought, said and called."""
        blocks = thinking_of(details_of(message.get("reasoning_details")), self._model)
        blocks += self._blocks(message.get("content") or "", f"{at}.content")
        if message.get("refusal"):
            blocks.append({"type": "text", "text": message["refusal"]})
        if message.get("audio"):
            self._unsupported.refuse(f"{at}.audio", "has no form in an Anthropic message")
        for place, call in enumerate(message.get("tool_calls") or ()):
            where = f"{at}.tool_calls.{place}"
            if call.get("type", "function") != "function":
                self._unsupported.refuse(
                    where, f"{call['type']!r} calls have no form in an Anthropic message"
                )
            else:
                blocks.append(_call(tool_id(call["id"]), call["function"], f"{where}.function"))
        if message.get("function_call"):
            self._function_id = f"call_{len(self.messages)}"
            blocks.append(_call(self._function_id, message["function_call"], f"{at}.function_call"))
        return blocks

    def _blocks(self, content: str | list[Json], at: str) -> list[Json]:
        return blocks_of(content, at, self._unsupported)


def thinking_of(details: list[Json], model: str) -> list[Json]:
    """Give earlier reasoning as thinking blocks.

    Anthropic's own goes back as it was; that of others, in their order, goes into a signature of ours, to be
    restored for `model` only. Text that nobody signed is no thinking that Anthropic takes: it is left out.
    """
    blocks: list[Json] = []
    foreign: list[Json] = []
    for detail in joined(details):
        block = _native(detail) if detail.get("format") == ANTHROPIC_FORMAT else None
        if block is None:
            foreign.append(detail)
        else:
            blocks += sealed(foreign, model)
            foreign = []
            blocks.append(block)
    return blocks + sealed(foreign, model)


def sealed(details: list[Json], model: str) -> list[Json]:
    """Give the block that carries `details` to the next turn of `model`, if there are any to carry."""
    if not details:
        return []
    signature = pack_details(details, model)
    if not signature:
        return []
    if text := shown_text(details):
        return [{"type": "thinking", "thinking": text, "signature": signature}]
    return [{"type": "redacted_thinking", "data": signature}]


def tool_id(identity: str) -> str:
    """Give a call's id in the letters that Anthropic takes; it is the same in call and result."""
    return _odd("_", identity)


def _native(detail: Json) -> Json | None:
    match detail:
        case {"type": "reasoning.text", "signature": str(signature)} if signature:
            return {"type": "thinking", "thinking": shown_text([detail]), "signature": signature}
        case {"type": "reasoning.encrypted", "data": str(data)} if data:
            return {"type": "redacted_thinking", "data": data}
        case _:
            return None


def _call(identity: str, function: Json, at: str) -> Json:
    given = parsed_arguments(function.get("arguments"), f"{at}.arguments")
    return {"type": "tool_use", "id": identity, "name": function["name"], "input": given}


def _simplest(blocks: list[Json]) -> str | list[Json]:
    """Give one plain text as a string, and nothing as words, for Anthropic refuses an empty message."""
    if not blocks:
        return NO_CONTENT
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks
