"""Gemini's contents as Anthropic's turns, checked on the way."""

from __future__ import annotations

import binascii
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any

from wire.chat_parts import NO_CONTENT, json_text
from wire.check_blocks import a_list, a_string, an_object
from wire.errors import InvalidRequest, UnsupportedContent
from wire.gemini_request import GEMINI_FORMAT
from wire.known import IMAGE_TYPES
from wire.media import check_media, is_base64
from wire.openai_parts import NAMELESS
from wire.openai_turns import ANTHROPIC_FORMAT, sealed, tool_id
from wire.reasoning import joined, shown_text
from wire.signature import unpack_details

if TYPE_CHECKING:
    from wire.messages import Json

_PDF = "application/pdf"
_GOOGLES = "https://generativelanguage.googleapis.com/"
_BESIDE = frozenset({"mediaResolution", "videoMetadata", "partMetadata", "thought", "thoughtSignature"})
"""Fields beside a part's own that say how to read it."""


def turns_of(contents: Any, model: str) -> list[Json]:
    """Give the messages; raises InvalidRequest or UnsupportedContent with the path."""
    turns = Turns(model)
    for place, content in enumerate(a_list(contents, "contents")):
        at = f"contents.{place}"
        role = an_object(content, at).get("role") or "user"
        parts = a_list(content.get("parts") or [], f"{at}.parts")
        match role:
            case "user" | "function":
                turns.add_user(parts, f"{at}.parts")
            case "model":
                turns.add_model(parts, f"{at}.parts")
            case _:
                raise InvalidRequest(f"{at}.role: must be user or model")
    if not turns.messages:
        raise InvalidRequest("contents: at least one content is required")
    return turns.messages


class Turns:
    """Takes contents in their order. Calls without an id are answered by name, in order."""

    __slots__ = ("_calls", "_made", "_model", "messages")

    def __init__(self, model: str) -> None:
        self.messages: list[Json] = []
        self._model = model
        self._calls: list[tuple[str, str]] = []  # of the model's last content: name and id, not yet answered
        self._made = 0

    def add_user(self, parts: list[Any], at: str) -> None:
        """Add a user's content: the results of calls first, as Anthropic wants them."""
        results: list[Json] = []
        blocks: list[Json] = []
        for place, part in enumerate(parts):
            where = f"{at}.{place}"
            if an_object(part, where).get("functionResponse") is not None:
                results.append(
                    self._result(an_object(part["functionResponse"], f"{where}.functionResponse"), where)
                )
            else:
                blocks += _blocks(part, where)
        self._append("user", results + blocks)

    def add_model(self, parts: list[Any], at: str) -> None:
        """Add what the model thought, said and called; thoughts of Gemini's own go in one block before it."""
        blocks: list[Json] = []
        details: list[Json] = []
        self._calls = []
        for place, part in enumerate(parts):
            where = f"{at}.{place}"
            signature = a_string(
                an_object(part, where).get("thoughtSignature") or "", f"{where}.thoughtSignature"
            )
            call = part.get("functionCall")
            identity = self._call_id(call, f"{where}.functionCall") if call is not None else ""
            if part.get("thought") and (text := a_string(part.get("text") or "", f"{where}.text")):
                details.append({"type": "reasoning.text", "text": text, "format": GEMINI_FORMAT})
            if signature:
                blocks += self._signed(signature, details, identity, thought=bool(part.get("thought")))
            if call is not None:
                blocks.append(_tool_use(call, identity, f"{where}.functionCall"))
            elif not part.get("thought"):
                blocks += _blocks(part, where)
        self._append("assistant", sealed(joined(details), self._model) + blocks)

    def _signed(self, signature: str, details: list[Json], identity: str, *, thought: bool) -> list[Json]:
        """Give the block that our signature restores, with the thoughts before it; note Gemini's own."""
        signature = signature.replace("-", "+").replace(
            "_", "/"
        )  # Google's client writes base64 for addresses
        restored = unpack_details(signature, self._model)
        if restored is None:
            if thought:
                details.append({"type": "reasoning.text", "signature": signature, "format": GEMINI_FORMAT})
            else:
                named = {"id": identity} if identity else {}
                detail = {"type": "reasoning.encrypted", "data": signature, "format": GEMINI_FORMAT}
                details.append(detail | named)
            return []
        text = shown_text(details)
        details.clear()
        match restored:
            case [{"format": format_, "type": "reasoning.text", "signature": native}] if (
                format_ == ANTHROPIC_FORMAT
            ):
                return [{"type": "thinking", "thinking": text, "signature": native}]
            case [{"format": format_, "type": "reasoning.encrypted", "data": data}] if (
                format_ == ANTHROPIC_FORMAT
            ):
                return [{"type": "redacted_thinking", "data": data}]
            case _ if text:
                return [{"type": "thinking", "thinking": text, "signature": signature}]
            case _:
                return [{"type": "redacted_thinking", "data": signature}]

    def _call_id(self, call: Any, at: str) -> str:
        """Give the call's id, or make one that depends on nothing but the calls before it."""
        name = a_string(an_object(call, at).get("name"), f"{at}.name")
        if not name:
            raise InvalidRequest(f"{at}.name: must not be empty")
        self._made += 1
        identity = tool_id(a_string(call.get("id") or f"call_{self._made}", f"{at}.id"))
        self._calls.append((name, identity))
        return identity

    def _result(self, response: Json, at: str) -> Json:
        """Give the result of a call of the content before: the one with its id, or the next of its name."""
        name = a_string(response.get("name") or "", f"{at}.name")
        given = tool_id(a_string(response.get("id") or "", f"{at}.id"))
        found = next(
            (call for call in self._calls if call[1] == given or (not given and call[0] == name)), None
        )
        if found is None:
            raise InvalidRequest(f"{at}: answers no functionCall of the model's content before it")
        self._calls.remove(found)
        told = an_object(response.get("response") or {}, f"{at}.response")
        result: Json = {"type": "tool_result", "tool_use_id": found[1]}
        content = [{"type": "text", "text": text}] if (text := _told(told, f"{at}.response")) else []
        for place, part in enumerate(a_list(response.get("parts") or [], f"{at}.parts")):
            content += _blocks(an_object(part, f"{at}.parts.{place}"), f"{at}.parts.{place}")
        if content:
            result["content"] = _simplest(content)
        return result | ({"is_error": True} if told.keys() == {"error"} else {})

    def _append(self, role: str, blocks: list[Json]) -> None:
        self.messages.append({"role": role, "content": _simplest(blocks) if blocks else NO_CONTENT})


def _told(response: Json, at: str) -> str:
    """Give what a function answered as text: its output or error, where it says no more; else all of it."""
    for field in ("output", "error", "result"):
        if response.keys() == {field} and isinstance(response[field], str):
            return str(response[field])
    return json_text(response, at) if response else ""


def _tool_use(call: Json, identity: str, at: str) -> Json:
    return {
        "type": "tool_use",
        "id": identity,
        "name": call["name"],
        "input": an_object(call.get("args") or {}, f"{at}.args"),
    }


def _blocks(part: Json, at: str) -> list[Json]:
    """Render one part that is neither thought nor call; an empty text says nothing."""
    kinds = [kind for kind in part if kind not in _BESIDE and part[kind] is not None]
    match kinds:
        case ["text"]:
            text = a_string(part["text"], f"{at}.text")
            return [{"type": "text", "text": text}] if text else []
        case ["inlineData"]:
            return [_inline(an_object(part["inlineData"], f"{at}.inlineData"), f"{at}.inlineData")]
        case ["fileData"]:
            return [_file(an_object(part["fileData"], f"{at}.fileData"), f"{at}.fileData")]
    if kinds:
        raise UnsupportedContent(f"{at}.{kinds[0][:60]}: has no form in an Anthropic message")
    return []


def _inline(blob: Json, at: str) -> Json:
    kind = a_string(blob.get("mimeType"), f"{at}.mimeType")
    data = a_string(blob.get("data"), f"{at}.data").replace("-", "+").replace("_", "/")
    if kind.startswith("text/"):
        if not is_base64(data):
            raise InvalidRequest(f"{at}.data: not valid base64")
        try:
            text = binascii.a2b_base64(data).decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"{at}.data: the text is not UTF-8") from None
        return _document({"type": "text", "media_type": "text/plain", "data": text}, blob)
    if kind != _PDF and kind not in IMAGE_TYPES:
        raise UnsupportedContent(f"{at}.mimeType: {kind[:60]!r} has no form in an Anthropic message")
    check_media(data, kind, at)
    source = {"type": "base64", "media_type": kind, "data": data}
    return _document(source, blob) if kind == _PDF else {"type": "image", "source": source}


def _file(file: Json, at: str) -> Json:
    uri = a_string(file.get("fileUri"), f"{at}.fileUri")
    if not uri.startswith(("http://", "https://")) or uri.startswith(_GOOGLES):
        raise UnsupportedContent(f"{at}.fileUri: files on Google's servers cannot be read here")
    kind = file.get("mimeType") or guess_type(uri.partition("?")[0])[0]
    source = {"type": "url", "url": uri}
    if kind == _PDF:
        return _document(source, file)
    if kind is None or kind in IMAGE_TYPES:
        return {"type": "image", "source": source}
    raise UnsupportedContent(f"{at}.mimeType: {str(kind)[:60]!r} has no form in an Anthropic message")


def _document(source: Json, named: Json) -> Json:
    title = named.get("displayName")
    told = {"title": title} if isinstance(title, str) and title not in NAMELESS else {}
    return {"type": "document", "source": source, **told}


def _simplest(blocks: list[Json]) -> str | list[Json]:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks
