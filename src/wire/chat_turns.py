"""Anthropic's turns as chat messages.

In Anthropic's form a user's turn holds tool results beside anything else, in any order. On a chat wire each
call is answered by a message of its own, and those follow the calls directly, in the order of the calls. So
an assistant's turn is kept open until the next one begins, and then written out in that order.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

from wire.billing import without_billing
from wire.chat_parts import (
    NO_CONTENT,
    NO_OUTPUT,
    json_text,
    marked,
    other_text,
    result_text,
    text_part,
    user_parts,
)
from wire.chat_reasoning import restored
from wire.errors import InvalidRequest, UnsupportedContent
from wire.interning import ChatTurn, SharedMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.messages import Json
    from wire.names import ToolNames

NO_RESULT = "[no result: this conversation holds none for the call, which may never have been run]"
FAILED = "[the tool reported an error]"


def chat_messages(body: Json, names: ToolNames, model: str, *, in_parts: bool = False) -> list[Json]:
    """Render the system prompt and all messages of `body` for the chat backend's `model`.

    `in_parts`: text is in parts everywhere, so that a message reads the same with a cache breakpoint and
    without; else one plain text is a string, which every backend takes. The messages of turns that requests
    share (`wire.interning`) are shared as well: nobody may change them.
    """
    conversation = Conversation(names, model, in_parts=in_parts)
    if system := body.get("system"):
        conversation.add_system(system, "system")
    messages = body["messages"]
    last_user = next((n for n in range(len(messages) - 1, -1, -1) if messages[n]["role"] == "user"), -1)
    for start, end in _turns(messages):
        conversation.add_turn(messages, start, end, last_user)
    return conversation.finish()


def _turns(messages: list[Json]) -> Iterator[tuple[int, int]]:
    """Cut messages where an assistant speaks again after a user did."""
    start = 0
    answered = False
    for place, message in enumerate(messages):
        role = message["role"]
        if role == "user":
            answered = True
        elif answered and role == "assistant":
            yield start, place
            start, answered = place, False
    yield start, len(messages)


class Conversation:
    """Takes turns in their order and gives chat messages. Ids that are empty or used twice are replaced."""

    __slots__ = ("_ids", "_in_parts", "_key", "_messages", "_model", "_names", "_repaired", "_turn")

    def __init__(self, names: ToolNames, model: str, *, in_parts: bool = False) -> None:
        self._key = (model, "in parts" if in_parts else "")
        self._in_parts = in_parts
        self._repaired = False
        self._names = names
        self._model = model
        self._messages: list[Json] = []
        self._ids: set[str] = set()
        self._turn = Turn(in_parts=in_parts)

    def add_turn(self, messages: list[Json], start: int, end: int, last_user: int) -> None:
        """Add the messages from `start` to `end`, one turn; taken as it is if it was rendered before."""
        first = messages[start]
        known = first.turn if type(first) is SharedMessage else None
        if known is not None and self._takes(known, messages[start + 1 : end]):
            self._messages += known.chat
            self._ids |= known.ids
            return
        done = len(self._messages)
        self._repaired = False
        for place in range(start, end):
            self._add(messages[place], place, last_user)
        if self._turn.answered:
            self._close()
            if start and self._names.plain and not self._repaired:
                remember(messages[start:end], self._messages[done:], self._key)

    def _takes(self, known: ChatTurn, after: list[Json]) -> bool:
        """Say whether a turn rendered for another request is the same in this one."""
        return (
            known.key == self._key
            and self._names.plain
            and len(known.after) == len(after)
            and all(map(is_, known.after, after))  # the same, not equal: to Python 1 is True
            and known.ids.isdisjoint(self._ids)
        )

    def _add(self, message: Json, place: int, last_user: int) -> None:
        content = message.get("content") or []
        at = f"messages.{place}.content"
        match message["role"]:
            case "user":
                self.add_user(content, at)
            case "assistant":
                self.add_assistant(content, at)
            case _ if message.get("clear_at") != "next_user_message" or place > last_user:
                self.add_system(content, at)

    def add_system(self, content: str | list[Json], at: str) -> None:
        """Add the system prompt, or a system message; it never comes between a call and its result."""
        parts = []
        for place, block in enumerate(_blocks(content)):
            is_text = block["type"] == "text"
            text = without_billing(block["text"]) if is_text else other_text(block, f"{at}.{place}")
            if text:
                parts.append(text_part(text, block))
        if parts:
            self._turn.after.append({"role": "system", "content": parts})

    def add_user(self, content: str | list[Json], at: str) -> None:
        """Add a user's message, its tool results to their calls, the rest behind them."""
        parts: list[Json] = []
        answers = False
        for place, block in enumerate(_blocks(content)):
            if block["type"] == "tool_result":
                self._turn.answer(block, f"{at}.{place}", self._names)
                answers = True
            else:
                parts += user_parts(block, f"{at}.{place}")
        if not parts and not answers:
            parts.append({"type": "text", "text": NO_CONTENT})
        self._turn.add_user(parts)

    def add_assistant(self, content: str | list[Json], at: str) -> None:
        """Add an assistant's message, to the open turn if that is still the assistant's."""
        if self._turn.answered or (self._turn.after and not self._turn.calls):
            self._close()
        turn = self._turn
        turn.begin()
        for place, block in enumerate(_blocks(content)):
            match block["type"]:
                case "text":
                    turn.add_text(block["text"], block)
                case "tool_use":
                    self._call(block, f"{at}.{place}")
                case "thinking" | "redacted_thinking":
                    turn.details += restored(block, self._model)
                case "image" | "document" as kind:
                    raise UnsupportedContent(f"{at}.{place}: {kind} blocks of an assistant have no chat form")
                case _:
                    turn.begin()
                    turn.add_text(other_text(block, f"{at}.{place}"), block)
                    turn.begin()

    def finish(self) -> list[Json]:
        """Write out what is open; an assistant's last message without anything in it is no prefill."""
        turn = self._turn
        if turn.spoken and not (turn.parts or turn.calls or turn.details or turn.after):
            turn.spoken = False
        return self._messages + turn.messages()

    def _call(self, block: Json, at: str) -> None:
        identity = block["id"]
        if not identity or identity in self._ids:
            identity = self._new_id()
            self._repaired = True
        self._ids.add(identity)
        function = {
            "name": self._names.short(block["name"]),
            "arguments": json_text(block["input"], f"{at}.input"),
        }
        self._turn.add_call(block, {"id": identity, "type": "function", "function": function})

    def _new_id(self) -> str:
        """Make an id that depends on nothing but the calls before it, so that it is the same next turn."""
        number = len(self._ids)
        while f"call_{number}" in self._ids:
            number += 1
        return f"call_{number}"

    def _close(self) -> None:
        self._messages += self._turn.messages()
        self._turn = Turn(in_parts=self._in_parts)


class Turn:
    """What an assistant said, its calls and their results, and all that came after it.

    The first turn of a conversation has no assistant: it is what comes before one speaks.
    """

    __slots__ = (
        "_gap", "_in_parts", "_open", "_results", "after", "answered", "calls", "details", "parts", "spoken",
    )  # fmt: skip

    def __init__(self, *, in_parts: bool = False) -> None:
        self._in_parts = in_parts
        self.spoken = False
        self.answered = False
        self.parts: list[Json] = []
        self.details: list[Json] = []
        self.calls: list[Json] = []
        self.after: list[Json] = []
        self._open: dict[str, list[int]] = {}
        self._results: dict[int, Result] = {}
        self._gap = False

    def begin(self) -> None:
        """Begin another message, or another piece, of the assistant's: its text stands apart."""
        self.spoken = True
        self._gap = True

    def add_text(self, text: str, block: Json) -> None:
        """Add text to what the assistant said; adjacent blocks are one text, cut for citations only."""
        if not text:
            return
        if self._gap and self.parts:
            text = f"\n\n{text}"
        self._gap = False
        self.parts.append(text_part(text, block))

    def add_call(self, block: Json, call: Json) -> None:
        """Add a call, waiting for a result under the id that the client knows.

        A call has no place for a cache breakpoint: its result, which comes next, takes it.
        """
        if block.get("cache_control"):
            self._results.setdefault(len(self.calls), Result()).mark(block)
        self._open.setdefault(block["id"], []).append(len(self.calls))
        self.calls.append(call)
        self._gap = True

    def answer(self, block: Json, at: str, names: ToolNames) -> None:
        """Add a tool_result to its call; ids used twice are answered in order."""
        waiting = self._open.get(block["tool_use_id"])
        if waiting is None:
            raise InvalidRequest(f"{at}.tool_use_id: no tool_use of the assistant turn before it has this id")
        results = self._results
        unanswered = [n for n in waiting if n not in results or not results[n].told]
        index = unanswered[0] if unanswered else waiting[-1]
        results.setdefault(index, Result()).add(block, at, names)

    def add_user(self, parts: list[Json]) -> None:
        """Add what a user said, to the user's message before it if there is one."""
        self.answered = True
        if not parts:
            return
        if self.after and self.after[-1]["role"] == "user":
            self.after[-1]["content"] += parts
        else:
            self.after.append({"role": "user", "content": parts})

    def messages(self) -> list[Json]:
        """Write the turn out: the assistant's message, a tool message for each call, all that came after."""
        messages = []
        if self.spoken:
            messages.append(self._assistant())
        shown: list[Json] = []
        for index, call in enumerate(self.calls):
            result = self._results.get(index) or Result()
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": call["id"],
                    "content": result.content(in_parts=self._in_parts),
                }
            )
            if result.shown:
                shown.append(text_part(f"[from the result of {call['function']['name']}, {call['id']}]", {}))
                shown += result.shown
        if shown:
            self._show(shown)
        if not self._in_parts:
            for message in self.after:
                message["content"] = _simplest(message["content"])
        return messages + self.after

    def _assistant(self) -> Json:
        message: Json = {"role": "assistant", "content": None}
        if self.parts:
            message["content"] = self._text()
        elif self.details and not self.calls:
            message["content"] = ""
        elif not self.calls:
            message["content"] = NO_CONTENT
        if self.details:
            message["reasoning_details"] = self.details
        if self.calls:
            message["tool_calls"] = self.calls
        return message

    def _text(self) -> str | list[Json]:
        """Give all the text as one: in a part with the last breakpoint there was, or as it is."""
        text = "".join(part["text"] for part in self.parts)
        if not self._in_parts:
            return text
        marks = (part for part in reversed(self.parts) if "cache_control" in part)
        return [text_part(text, next(marks, {}))]

    def _show(self, shown: list[Json]) -> None:
        """Put what tool messages cannot hold at the head of the user's message behind them."""
        if self.after and self.after[0]["role"] == "user":
            self.after[0]["content"] = shown + self.after[0]["content"]
        else:
            self.after.insert(0, {"role": "user", "content": shown})


class Result:
    """The results of one call: text, and what is shown elsewhere. Without any it says so."""

    __slots__ = ("_block", "_texts", "shown")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._block: Json = {}
        self.shown: list[Json] = []

    @property
    def told(self) -> bool:
        """Whether there is a result yet."""
        return bool(self._texts)

    def mark(self, block: Json) -> None:
        """Take the cache breakpoint of `block`, which has one."""
        self._block = block

    def add(self, block: Json, at: str, names: ToolNames) -> None:
        """Add one tool_result."""
        pieces = []
        for place, inner in enumerate(_blocks(block.get("content") or [])):
            if inner.get("cache_control"):  # one mark: on the result, not on what is shown elsewhere too
                self.mark(inner)
                inner = {name: value for name, value in inner.items() if name != "cache_control"}  # noqa: PLW2901
            pieces.append(result_text(inner, f"{at}.content.{place}", self.shown, names))
        text = "\n\n".join(piece for piece in pieces if piece) or NO_OUTPUT
        self._texts.append(f"{FAILED}\n{text}" if block.get("is_error") else text)
        if block.get("cache_control"):
            self.mark(block)

    def content(self, *, in_parts: bool) -> str | list[Json]:
        """Give the content of the tool message."""
        text = "\n\n".join(self._texts) or NO_RESULT
        part = marked({"type": "text", "text": text}, self._block)
        return [part] if in_parts else _simplest([part])


def remember(turn: list[Json], chat: list[Json], key: tuple[str, ...]) -> None:
    """Keep what a turn became, if nothing outside the turn and the key has a part in it."""
    ids: list[str] = []
    for message in turn:
        if type(message) is not SharedMessage or message.facts is None or message.marked:
            return
        if "clear_at" in message:  # goes or stays by what comes later
            return
        ids += message.facts.calls
    turn[0].turn = ChatTurn(key, turn[1:], frozenset(ids), chat)  # type: ignore[attr-defined]


def _blocks(content: str | list[Json]) -> list[Json]:
    """Give content as blocks: a string is short for one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _simplest(parts: list[Json]) -> str | list[Json]:
    """Give one plain text as a string, which every backend takes, and anything else as parts."""
    if len(parts) == 1 and len(parts[0]) == 2 and "text" in parts[0]:
        return str(parts[0]["text"])
    return parts
