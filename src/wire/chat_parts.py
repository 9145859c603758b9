"""Anthropic content blocks as chat content parts, and as plain text where a chat has no part for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wire.body import unwritable
from wire.errors import InvalidRequest, UnsupportedContent

if TYPE_CHECKING:
    from wire.messages import Json
    from wire.names import ToolNames

NO_OUTPUT = "(no output)"
NO_CONTENT = "(no content)"
"""Stands for a message without content, which chat backends refuse."""

_OPAQUE = frozenset(
    {"encrypted_content", "encrypted_index", "encrypted_stdout", "signature", "cache_control"}
)
"""Fields that mean something to Anthropic's servers only."""


def user_parts(block: Json, at: str) -> list[Json]:
    """Render one block of a user's message as chat parts; `at` is its path, for the error."""
    match block["type"]:
        case "text":
            return [text_part(block["text"], block)] if block["text"] else []
        case "image":
            return [image_part(block, at)]
        case "document":
            return document_parts(block, at)
        case "search_result":
            return [text_part(search_text(block), block)]
        case _:
            text = other_text(block, at)
            return [text_part(text, block)] if text else []


def text_part(text: str, block: Json) -> Json:
    """Make a text part; it carries the cache breakpoint that `block` has."""
    return marked({"type": "text", "text": text}, block)


def marked(part: Json, block: Json) -> Json:
    """Put the cache breakpoint of `block` on `part`, without the `scope` that only Anthropic knows."""
    control = block.get("cache_control")
    if control:
        mark = {"type": control["type"]}
        if "ttl" in control:
            mark["ttl"] = control["ttl"]
        part["cache_control"] = mark
    return part


def image_part(block: Json, at: str) -> Json:
    """Render an image as an `image_url` part, with a data URL where the bytes are in the request."""
    source = block["source"]
    match source["type"]:
        case "base64":
            url = f"data:{source['media_type']};base64,{source['data']}"
        case "url":
            url = source["url"]
        case _:
            raise _file_source(at)
    return marked({"type": "image_url", "image_url": {"url": url}}, block)


def document_parts(block: Json, at: str) -> list[Json]:
    """Render a document: a PDF as a `file` part, text as text, with its title and context before it."""
    source = block["source"]
    match source["type"]:
        case "base64":
            part = _file_part(block, f"data:application/pdf;base64,{source['data']}")
        case "url":
            part = _file_part(block, source["url"])
        case "text":
            return [text_part(_preamble(block) + source["data"], block)]
        case "content":
            return _content_parts(block, at)
        case _:
            raise _file_source(at)
    preamble = _preamble(block).rstrip()
    return [text_part(preamble, {}), part] if preamble else [part]


def search_text(block: Json) -> str:
    """Tell a search result as text."""
    found = "\n".join(part["text"] for part in block["content"])
    return f"Search result: {block['title']}\nSource: {block['source']}\n\n{found}"


def result_text(block: Json, at: str, shown: list[Json], names: ToolNames) -> str:
    """Tell one block of a tool's result as text; images and files go to `shown`, to be put elsewhere."""
    match block["type"]:
        case "text":
            return str(block["text"])
        case "image":
            shown.append(image_part(block, at))
            return "[image: shown after the tool results]"
        case "tool_reference":
            return f"[tool loaded: {names.short(block['tool_name'])}]"
        case "search_result":
            return search_text(block)
        case "document":
            return _document_text(block, at, shown)
        case _:
            return readable(block)


def other_text(block: Json, at: str) -> str:
    """Tell a block without a chat form as text, or refuse what must have its effect to mean anything."""
    kind = block["type"]
    if kind == "tool_addition" and block["tool"].get("type") == "tool_reference":
        return ""  # names_loaded has seen it
    if kind in _NO_FORM:
        raise UnsupportedContent(f"{at}: {kind} blocks have no form on a chat backend's wire")
    return readable(block)


def readable(block: Json) -> str:
    """Tell what a server tool did, or another block without a chat form, as text that loses nothing readable.

    Blocks that only steer Anthropic's servers, and are never shown to a model, are empty.
    """
    match block["type"]:
        case "server_tool_use" | "mcp_tool_use":
            return f"[called {block['name']}: {json_text(block['input'])}]"
        case "web_search_tool_result":
            return _search_results(block.get("content"))
        case "compaction":
            return block.get("content") or ""
        case "fallback" | "mcp_tool_listing":
            return ""
        case kind:
            told = {key: value for key, value in block.items() if key not in _OBVIOUS}
            return f"[{kind}: {json_text(_legible(told))}]"


def json_text(value: Any, at: str = "messages") -> str:
    """Write `value` as JSON text; too deep for that is InvalidRequest."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise InvalidRequest(f"{unwritable(value, at)}: nested too deeply") from None


def _content_parts(block: Json, at: str) -> list[Json]:
    """Render a document whose source is content blocks, or a string."""
    content = block["source"]["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    parts = [part for n, one in enumerate(blocks) for part in user_parts(one, f"{at}.source.content.{n}")]
    preamble = _preamble(block).rstrip()
    if preamble:
        parts.insert(0, text_part(preamble, {}))
    if parts:
        marked(parts[-1], block)
    return parts


def _document_text(block: Json, at: str, shown: list[Json]) -> str:
    """Tell a document inside a tool's result: its text, and its files among what is `shown` elsewhere."""
    texts = []
    for part in document_parts(block, at):
        if part["type"] == "text":
            texts.append(part["text"])
            continue
        kind = "file" if part["type"] == "file" else "image"
        texts.append(f"[{kind}: shown after the tool results]")
        shown.append(part)
    return "\n\n".join(texts)


def _file_part(block: Json, data: str) -> Json:
    title = block.get("title") or "document"
    name = title if title.lower().endswith(".pdf") else f"{title}.pdf"
    return marked({"type": "file", "file": {"filename": name, "file_data": data}}, block)


def _preamble(block: Json) -> str:
    """Tell a document's title and context."""
    lines = [f"{word}: {block[field]}" for field, word in _TOLD if block.get(field)]
    return "\n".join(lines) + "\n\n" if lines else ""


def _file_source(at: str) -> UnsupportedContent:
    return UnsupportedContent(f"{at}.source: files uploaded to Anthropic cannot be read by a chat backend")


def _search_results(content: Any) -> str:
    """List the pages a web search found, or its error."""
    if not isinstance(content, list):
        code = content.get("error_code") if isinstance(content, dict) else None
        return f"[web search failed: {code or 'unknown error'}]"
    pages = [page for page in content if isinstance(page, dict)]
    lines = [f"- {page.get('title')}: {page.get('url')}" for page in pages]
    return "\n".join(["[web search results]", *lines])


def _legible(value: Any, depth: int = 0) -> Any:
    """Copy JSON without what no reader could use: encrypted fields and the bytes of files."""
    if isinstance(value, list) and depth < _DEEPEST:
        return [_legible(one, depth + 1) for one in value]
    if isinstance(value, dict) and depth < _DEEPEST:
        return {
            key: f"({len(one)} characters of base64)"
            if key == "data" and value.get("type") == "base64" and isinstance(one, str)
            else _legible(one, depth + 1)
            for key, one in value.items()
            if key not in _OPAQUE
        }
    return value


_OBVIOUS = frozenset({"tool_use_id", "type"})
_NO_FORM = frozenset({"container_upload", "tool_addition", "tool_removal"})
_TOLD = (("title", "Title"), ("context", "Context"))
_DEEPEST = 60
