"""Cache breakpoints: whether a request has any, and where they go if it has none.

Anthropic's cache is asked for: a `cache_control` on a block says that all up to there is worth keeping. The
mark itself is no part of what is kept, so that it may move on from turn to turn; but a string must not become
a list of blocks because a mark has come to stand on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.billing import BILLING
from wire.interning import SharedMessage, SharedTools

if TYPE_CHECKING:
    from wire.messages import Json

BREAKPOINTS = 4
"""Breakpoints that Anthropic takes in one request; the automatic one, at the top of the body, counts too."""

LEAST_BYTES = 4096
"""Bytes of a body below which no model of Anthropic's caches: 1,024 tokens is the least for most of them."""

_MARK: Json = {"type": "ephemeral"}
_MARKABLE = frozenset({"document", "image", "search_result", "tool_result"})


def has_breakpoints(body: Json) -> bool:
    """Tell whether a checked request, an OpenAI client's too, has a breakpoint anywhere."""
    if body.get("cache_control"):
        return True
    tools = body.get("tools") or ()
    if not (type(tools) is SharedTools and not tools.marked) and any(map(_marked, tools)):
        return True
    if _any_marked(body.get("system")):
        return True
    return any(
        _any_marked(message.get("content"))
        for message in body["messages"]
        if not (type(message) is SharedMessage and not message.marked)
    )


def with_breakpoints(body: Json, *, in_blocks: bool) -> Json:
    """Give a checked request that has none with breakpoints; `body` and its messages stay as they are.

    They come after the tools, after the system prompt, and, once an assistant has spoken, after the user's
    last message and after the one that ended the request before: what was written for that one is found
    there, however many blocks have come since. The first question of a conversation gets none, because many
    conversations end with it.

    `in_blocks`: the body goes out as it is, so that every string becomes the block it is short for. Else a
    converter sees to it.
    """
    made = dict(body)
    if tools := body.get("tools"):
        made["tools"] = _with_marked_tool(tools)
    if system := _with_marked_end(_blocks(body.get("system") or []), _is_lasting):
        made["system"] = system
    messages = list(body["messages"])
    for place in _ends_of_requests(messages):
        if content := _with_marked_end(_blocks(messages[place]["content"]), _is_markable):
            messages[place] = {**messages[place], "content": content}
    made["messages"] = [_in_blocks(message) for message in messages] if in_blocks else messages
    return made


def with_chat_breakpoints(chat: Json) -> Json:
    """Give an OpenAI client's request with breakpoints in the same places, and all text in parts."""
    made = dict(chat)
    if tools := chat.get("tools"):
        made["tools"] = [*tools[:-1], {**tools[-1], "cache_control": _MARK}]
    messages = [_in_blocks(message) for message in chat["messages"]]
    head = next((n for n, one in enumerate(messages) if one["role"] not in _INSTRUCTS), len(messages))
    for place in [*range(head)[-1:], *_ends_of_requests(messages)]:
        content = messages[place].get("content")
        if isinstance(content, list) and (marked := _with_marked_end(content, _is_chat_part)):
            messages[place] = {**messages[place], "content": marked}
    return made | {"messages": messages}


_INSTRUCTS = frozenset({"developer", "system"})
_ANSWERS = frozenset({"tool", "user"})


def _ends_of_requests(messages: list[Json]) -> list[int]:
    """Give the places of the last message that is not an assistant's, and of the last before its turn."""
    last = _last_answer(messages, len(messages))
    spoke = next((n for n in range(last, -1, -1) if messages[n]["role"] == "assistant"), -1)
    if spoke < 0:
        return []
    before = _last_answer(messages, spoke)
    return [last] if before < 0 else [before, last]


def _last_answer(messages: list[Json], end: int) -> int:
    return next((n for n in range(end - 1, -1, -1) if messages[n]["role"] in _ANSWERS), -1)


def _with_marked_tool(tools: list[Json]) -> list[Json]:
    """Mark the last tool that is always there: one to be loaded later is no part of the prefix."""
    place = next((n for n in range(len(tools) - 1, -1, -1) if not tools[n].get("defer_loading")), None)
    if place is None:
        return tools
    return [*tools[:place], {**tools[place], "cache_control": _MARK}, *tools[place + 1 :]]


def _with_marked_end(blocks: list[Json], fits: Any) -> list[Json] | None:
    """Mark the last block that can bear it; None if none can."""
    place = next((n for n in range(len(blocks) - 1, -1, -1) if fits(blocks[n])), None)
    if place is None:
        return None
    return [*blocks[:place], {**blocks[place], "cache_control": _MARK}, *blocks[place + 1 :]]


def _is_lasting(block: Json) -> bool:
    return _is_text(block) and not block["text"].startswith(BILLING)


def _is_markable(block: Json) -> bool:
    return block["type"] in _MARKABLE or _is_text(block)


def _is_chat_part(part: Json) -> bool:
    return part["type"] in {"image_url", "file"} or _is_text(part)


def _is_text(block: Json) -> bool:
    return block["type"] == "text" and bool(block["text"].strip())


def _blocks(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _in_blocks(message: Json) -> Json:
    """Give the message with its text as a block; what is blank stays, for a block of it is refused."""
    content = message.get("content")
    if not (isinstance(content, str) and content.strip()):
        return message
    return {**message, "content": _blocks(content)}


def _any_marked(content: Any) -> bool:
    return isinstance(content, list) and any(map(_marked, content))


def _marked(block: Any) -> bool:
    """Tell whether a block bears a mark, or one within it does."""
    if not isinstance(block, dict):  # within results of Anthropic's servers anything may be
        return False
    if block.get("cache_control") or _any_marked(block.get("content")):
        return True
    source = block.get("source")
    return isinstance(source, dict) and _any_marked(source.get("content"))
