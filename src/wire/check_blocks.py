"""Validation of content blocks: enough that every converter may read them without asking again.

Fields that Anthropic's API knows must have their type; unknown fields pass. `at` is the block's path
(`messages.3.content.0`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.body import json_type
from wire.errors import InvalidRequest
from wire.known import BLOCKS, IMAGE_TYPES, RESULT_BLOCKS, SOURCE_BLOCKS, SYSTEM_BLOCKS, TEXT_BLOCKS
from wire.media import check_media

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire.messages import Json

_ROLE_ONLY = {
    "redacted_thinking": "assistant",
    "thinking": "assistant",
    "tool_result": "user",
    "tool_use": "assistant",
}
"""Blocks that only one role may write."""


def check_content(content: Any, role: str, at: str) -> None:
    """Check a message's content: a string, or a list of blocks that `role` may write."""
    if type(content) is str:
        return
    blocks = a_list(content, at, "a string or a list of content blocks")
    known = SYSTEM_BLOCKS if role == "system" else BLOCKS
    for place, block in enumerate(blocks):
        where = f"{at}.{place}"
        kind = check_block(block, known, where)
        if _ROLE_ONLY.get(kind, role) != role:
            raise InvalidRequest(f"{where}.type: {kind} blocks are for the {_ROLE_ONLY[kind]} role only")


def check_block(block: Any, known: frozenset[str], at: str) -> str:
    """Check one block against the types of its place, and give its type."""
    if type(block) is not dict:
        raise wrong(at, "a content block (an object)", block)
    kind = block.get("type")
    if kind == "text" and type(block.get("text")) is str and len(block) == 2:
        return "text"  # most blocks of most requests
    if type(kind) is not str:
        raise wrong(f"{at}.type", "a string", kind)
    if kind not in known:
        raise InvalidRequest(f"{at}.type: unknown block type {kind[:60]!r}")
    check = _CHECKS.get(kind)
    if check:
        check(block, at)
    if "cache_control" in block:
        check_cache_control(block["cache_control"], f"{at}.cache_control")
    return kind


def check_cache_control(value: Any, at: str) -> None:
    """Check a cache breakpoint; null is none."""
    if value is None:
        return
    a_string(an_object(value, at).get("type"), f"{at}.type")
    if "ttl" in value:
        a_string(value["ttl"], f"{at}.ttl")


def an_object(value: Any, at: str) -> Json:
    """Give `value` as an object, or refuse it. Messages of large bodies are dicts of a kind of their own."""
    if not isinstance(value, dict):
        raise wrong(at, "an object", value)
    return value


def a_list(value: Any, at: str, what: str = "a list") -> list[Any]:
    """Give `value` as a list, or refuse it; the tools of large bodies are lists of a kind of their own."""
    if not isinstance(value, list):
        raise wrong(at, what, value)
    return value


def a_string(value: Any, at: str) -> str:
    """Give `value` as a string, or refuse it."""
    if type(value) is not str:
        raise wrong(at, "a string", value)
    return value


def wrong(at: str, what: str, value: Any) -> InvalidRequest:
    """Say what should have been at `at`, and of which type the value there is; never the value itself."""
    return InvalidRequest(f"{at}: must be {what}, not {json_type(value)}")


def _text(block: Json, at: str) -> None:
    a_string(block.get("text"), f"{at}.text")
    if block.get("citations") is not None:
        a_list(block["citations"], f"{at}.citations")


def _image(block: Json, at: str) -> None:
    where = f"{at}.source"
    source = an_object(block.get("source"), where)
    match source.get("type"):
        case "base64":
            data = a_string(source.get("data"), f"{where}.data")
            media_type = a_string(source.get("media_type"), f"{where}.media_type")
            if media_type not in IMAGE_TYPES:
                raise InvalidRequest(f"{where}.media_type: must be one of {', '.join(sorted(IMAGE_TYPES))}")
            check_media(data, media_type, where)
        case "url":
            _filled(source.get("url"), f"{where}.url")
        case "file":
            _filled(source.get("file_id"), f"{where}.file_id")
        case _:
            raise InvalidRequest(f"{where}.type: must be base64, url or file")


def _document(block: Json, at: str) -> None:
    for field in ("title", "context"):
        if block.get(field) is not None:
            a_string(block[field], f"{at}.{field}")
    where = f"{at}.source"
    source = an_object(block.get("source"), where)
    match source.get("type"):
        case "base64":
            data = a_string(source.get("data"), f"{where}.data")
            if source.get("media_type") != "application/pdf":
                raise InvalidRequest(f"{where}.media_type: must be application/pdf")
            check_media(data, "application/pdf", where)
        case "text":
            a_string(source.get("data"), f"{where}.data")
        case "url":
            _filled(source.get("url"), f"{where}.url")
        case "file":
            _filled(source.get("file_id"), f"{where}.file_id")
        case "content":
            _inner(source.get("content"), SOURCE_BLOCKS, f"{where}.content")
        case _:
            raise InvalidRequest(f"{where}.type: must be base64, text, url, file or content")


def _search_result(block: Json, at: str) -> None:
    a_string(block.get("source"), f"{at}.source")
    a_string(block.get("title"), f"{at}.title")
    for place, part in enumerate(a_list(block.get("content"), f"{at}.content")):
        check_block(part, TEXT_BLOCKS, f"{at}.content.{place}")


def _tool_use(block: Json, at: str) -> None:
    a_string(block.get("id"), f"{at}.id")
    _filled(block.get("name"), f"{at}.name")
    an_object(block.get("input"), f"{at}.input")


def _tool_result(block: Json, at: str) -> None:
    a_string(block.get("tool_use_id"), f"{at}.tool_use_id")
    if block.get("content") is not None:
        _inner(block["content"], RESULT_BLOCKS, f"{at}.content")
    if type(block.get("is_error")) not in _BOOL_OR_NULL:
        raise wrong(f"{at}.is_error", "a boolean", block["is_error"])


def _tool_reference(block: Json, at: str) -> None:
    _filled(block.get("tool_name"), f"{at}.tool_name")


def _thinking(block: Json, at: str) -> None:
    a_string(block.get("thinking"), f"{at}.thinking")
    if block.get("signature") is not None:
        a_string(block["signature"], f"{at}.signature")


def _redacted_thinking(block: Json, at: str) -> None:
    a_string(block.get("data"), f"{at}.data")


def _server_result(block: Json, at: str) -> None:
    a_string(block.get("tool_use_id"), f"{at}.tool_use_id")


def _container_upload(block: Json, at: str) -> None:
    _filled(block.get("file_id"), f"{at}.file_id")


def _compaction(block: Json, at: str) -> None:
    if block.get("content") is not None:
        a_string(block["content"], f"{at}.content")


def _tool_change(block: Json, at: str) -> None:
    an_object(block.get("tool"), f"{at}.tool")


def _inner(content: Any, known: frozenset[str], at: str) -> None:
    """Check content inside a block: a string, or blocks of the `known` types."""
    if type(content) is str:
        return
    for place, block in enumerate(a_list(content, at, "a string or a list of content blocks")):
        check_block(block, known, f"{at}.{place}")


def _filled(value: Any, at: str) -> None:
    if not a_string(value, at):
        raise InvalidRequest(f"{at}: must not be empty")


_BOOL_OR_NULL = frozenset({bool, type(None)})

_CHECKS: dict[str, Callable[[Json, str], None]] = {
    "advisor_tool_result": _server_result,
    "bash_code_execution_tool_result": _server_result,
    "code_execution_tool_result": _server_result,
    "compaction": _compaction,
    "container_upload": _container_upload,
    "document": _document,
    "image": _image,
    "mcp_tool_result": _server_result,
    "mcp_tool_use": _tool_use,
    "redacted_thinking": _redacted_thinking,
    "search_result": _search_result,
    "server_tool_use": _tool_use,
    "text": _text,
    "text_editor_code_execution_tool_result": _server_result,
    "thinking": _thinking,
    "tool_addition": _tool_change,
    "tool_reference": _tool_reference,
    "tool_removal": _tool_change,
    "tool_result": _tool_result,
    "tool_search_tool_result": _server_result,
    "tool_use": _tool_use,
    "web_fetch_tool_result": _server_result,
    "web_search_tool_result": _server_result,
}
