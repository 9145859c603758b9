"""Requests and answers without what they say: each text becomes a mark of its length, the rest stays.

`redacted` keeps structure, roles, types, ids, names of models, tools and fields, and parameters that are
numbers or switches. Of what a tool was called with, only the fields' names stay. `filled` makes of that a
request that can be sent: marks become filler text of the same length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wire.messages import Json

_WORD = re.compile(r"[\w.$:/@#+,-]{1,128}", re.ASCII)
_MARK = re.compile(r"\[(\d+) characters, (\d+) lines\]")

_STAY = frozenset(
    {
        "call_id", "data_collection", "detail", "display", "effort", "fallbacks", "finish_reason", "format",
        "id", "ignore", "media_type", "model", "models", "object", "only", "order", "output", "provider",
        "quantizations", "role", "route", "scope", "service_tier", "sort", "stop_reason", "tool_call_id",
        "tool_choice", "tool_name", "tool_use_id", "ttl", "type", "verbosity",
    }
)  # fmt: skip
"""Fields whose words stay: an id, or a word of a short list. A text with a space in it never does."""

_STOPS = frozenset({"stop", "stop_sequences"})
_CONTENT = frozenset({"arguments", "input", "logprobs", "metadata"})
_SCHEMAS = frozenset({"input_schema", "parameters", "schema"})
_NAMED_SCHEMAS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_SCHEMA_WORDS = frozenset({"$id", "$ref", "$schema", "format", "required", "type"})
_VALUES = frozenset({"const", "default", "enum", "examples", "pattern"})

_BOUND_TO_TEXT = ("thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result")
_SENTENCE = "Filler text in place of what was said. "
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def mark(text: str) -> str:
    """Give what stands for a text: how long it is. The empty text stands for itself."""
    return f"[{len(text)} characters, {text.count(chr(10)) + 1} lines]" if text else text


def redacted(value: Any, name: str = "") -> Any:
    """Give the same JSON without its texts; `name` is the field that it stands in."""
    if isinstance(value, str):
        return value if name in _STAY and _WORD.fullmatch(value) else mark(value)
    if isinstance(value, list):
        return [redacted(one, name) for one in value]
    if not isinstance(value, dict):
        return value
    return {_name(key): _field(key, one, value) for key, one in value.items()}


def _field(name: str, value: Any, around: Json) -> Any:
    if name in _CONTENT:
        return _content(value)
    if name in _SCHEMAS:
        return _schema(value)
    if name in _STOPS:
        return _words(value)
    if name == "name" and "role" not in around and isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return redacted(value, name)


def _name(key: str) -> str:
    return key if _WORD.fullmatch(key) else mark(key)


def _words(value: Any) -> Any:
    """Give stop sequences: those that are words; a filler in place of others would stop anything."""
    told = value if isinstance(value, list) else [value]
    return [one for one in told if isinstance(one, str) and _WORD.fullmatch(one)]


def _content(value: Any) -> Any:
    """Take everything out but the fields' names."""
    if isinstance(value, str):
        return mark(value)
    if isinstance(value, list):
        return [_content(one) for one in value]
    if isinstance(value, dict):
        return {_name(key): _content(one) for key, one in value.items()}
    return value if isinstance(value, bool) or value is None else 0


def _schema(value: Any) -> Any:
    """Give a JSON schema without its texts, and without the values that it names."""
    if isinstance(value, str):
        return mark(value)
    if isinstance(value, list):
        return [_schema(one) for one in value]
    if not isinstance(value, dict):
        return value
    made: Json = {}
    for key, one in value.items():
        if key in _SCHEMA_WORDS:
            made[key] = _schema_words(one)
        elif key in _NAMED_SCHEMAS and isinstance(one, dict):
            made[key] = {_name(name): _schema(inner) for name, inner in one.items()}
        elif key not in _VALUES:
            made[_name(key)] = _schema(one)
    return made


def _schema_words(value: Any) -> Any:
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else mark(value)
    return [_schema_words(one) for one in value] if isinstance(value, list) else _schema(value)


def filled(value: Any, name: str = "") -> Any:
    """Give a redacted request as one that can be sent.

    Marks become filler text, pictures a single pixel, a tool's arguments an empty object. What is signed or
    encrypted (thinking, server tools' results) cannot be made up, and is left out.
    """
    if isinstance(value, str):
        return _filler(value, name)
    if isinstance(value, list):
        kept = [filled(one, name) for one in value if not _is_bound(one)]
        return kept or [{"type": "text", "text": "Filler."}] if name == "content" and value else kept
    if not isinstance(value, dict):
        return value
    if _is_marked(value.get("url")):
        return _picture(value)
    if value.get("type") == "base64" and str(value.get("media_type")).startswith("image/"):
        return {**value, "media_type": "image/png", "data": _PIXEL}
    return {key: filled(one, key) for key, one in value.items() if key != "reasoning_details"}


def _picture(source: Json) -> Json:
    if source.get("type") == "url":
        return {"type": "base64", "media_type": "image/png", "data": _PIXEL}
    return {**source, "url": f"data:image/png;base64,{_PIXEL}"}


def _filler(value: str, name: str) -> str:
    found = _MARK.fullmatch(value)
    if found is None:
        return value
    if name == "arguments":
        return "{}"
    size, lines = int(found[1]), int(found[2])
    text = (_SENTENCE * (size // len(_SENTENCE) + 1))[:size]
    for place in range(1, lines):
        at = min(place * size // lines, size - 1)
        text = f"{text[:at]}\n{text[at + 1 :]}"
    return text[:-1] + "."


def _is_marked(value: Any) -> bool:
    return isinstance(value, str) and _MARK.fullmatch(value) is not None


def _is_bound(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in _BOUND_TO_TEXT
