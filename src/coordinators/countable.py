"""A Messages request in the form that LiteLLM's token counter takes.

The counter knows a few of Anthropic's blocks, and for one that it does not know it counts all of a message as
nothing. So the others are told as text here, as a chat backend would be told them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordinators.pdf_pages import TOKENS_A_PAGE, pdf_tokens
from wire.chat_parts import json_text, readable, search_text

if TYPE_CHECKING:
    from wire.messages import Json

_AS_THEY_ARE = frozenset({"redacted_thinking", "text", "thinking", "tool_reference", "tool_use"})


class Countable:
    """A request's messages, tools and whatever else is counted, made from its body.

    `messages` and `tools` are for the counter, and so is `text`, which is in neither. `tokens` are what it
    cannot count. `guesses` says that an image is not in the request, so that the counter is not to fetch it.
    """

    def __init__(self, body: Json) -> None:
        self.tokens = 0
        self.guesses = False
        self.tools = chat_tools(body.get("tools") or [])
        self.text = _format_text(body)
        self.messages = [
            {**message, "content": self._content(message.get("content"))}
            for message in body.get("messages") or []
        ]
        if system := body.get("system"):
            self.messages.insert(0, {"role": "system", "content": system})

    def _content(self, content: Any) -> Any:
        """Give a message's or a result's content; a string, or nothing, is what it is."""
        if not isinstance(content, list):
            return content or ""
        return [told for block in content for told in self._block(block)]

    def _block(self, block: Json) -> list[Json]:
        match block["type"]:
            case kind if kind in _AS_THEY_ARE:
                return [block]
            case "image":
                return self._image(block)
            case "tool_result":
                return [{**block, "content": self._content(block.get("content"))}]
            case "document":
                return self._document(block)
            case "search_result":
                return [_text(search_text(block))]
            case "web_fetch_tool_result":
                self._fetched(block)
        return [_text(readable(block))]

    def _image(self, block: Json) -> list[Json]:
        self.guesses |= block["source"]["type"] != "base64"
        return [block]

    def _document(self, block: Json) -> list[Json]:
        """Give a document's text; a PDF is counted by its pages, and as one page if it is elsewhere."""
        source = block["source"]
        if source["type"] == "content":
            content = self._content(source["content"])
            return [{**block, "source": {**source, "content": content}}]
        if source["type"] == "text":
            return [block]
        self.tokens += pdf_tokens(source["data"]) if source["type"] == "base64" else TOKENS_A_PAGE
        return [_text(block[field]) for field in ("title", "context") if block.get(field)]

    def _fetched(self, block: Json) -> None:
        """Count a PDF that a server's tool has fetched; all else of it is text."""
        try:
            source = block["content"]["content"]["source"]
            self.tokens += pdf_tokens(source["data"]) if source["type"] == "base64" else 0
        except (KeyError, TypeError):
            pass  # it failed, or is of a form that has no PDF


def chat_tools(tools: list[Json]) -> list[Json]:
    """Give Anthropic tools in the form that LiteLLM's counter takes; server tools by name only."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.get("name", tool.get("type", "")),
                "description": _description(tool),
                "parameters": tool.get("input_schema") or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    ]


def _description(tool: Json) -> str:
    description = tool.get("description") or ""
    examples = tool.get("input_examples")
    return f"{description}\nExamples: {json_text(examples)}" if examples else description


def _format_text(body: Json) -> str:
    """Give the schema that the answer has to fulfil: the model is told it."""
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    return json_text(schema) if schema else ""


def _text(text: str) -> Json:
    return {"type": "text", "text": text}
