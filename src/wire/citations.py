"""Annotations of a chat answer as Anthropic citations and search results, and citations that requests have.

OpenRouter's `web` plugin gives `{type: url_citation, url_citation: {url, title, content, start_index,
end_index}}`. What Anthropic encrypts (`encrypted_index`, `encrypted_content`) is unknown here and stays
empty. Other annotations (`file`: the parsed input, for the backend's own cache) are no part of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.interning import SharedMessage
from wire.tool_calls import text_of

if TYPE_CHECKING:
    from wire.messages import Json

_CITED = 150
"""Characters of `cited_text`, as Anthropic cuts it: OpenRouter gives whole pages."""


class Citations:
    """The web citations of one answer, each once: some backends repeat them in every chunk."""

    __slots__ = ("_pages", "_seen")

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()
        self._pages: dict[str, str] = {}

    def fresh(self, annotations: Any) -> list[Json]:
        """Give the citations among the annotations that did not come before."""
        if not isinstance(annotations, list):
            return []
        citations = []
        for annotation in annotations:
            found = annotation.get("url_citation") if isinstance(annotation, dict) else None
            if not isinstance(found, dict) or not (url := text_of(found.get("url"))):
                continue
            key = (url, str(found.get("start_index")), str(found.get("end_index")))
            if key in self._seen:
                continue
            self._seen.add(key)
            self._pages.setdefault(url, text_of(found.get("title")) or url)
            citations.append(_citation(found))
        return citations

    def results(self) -> list[Json]:
        """Give every cited page as a web search result."""
        return [
            {
                "type": "web_search_result",
                "url": url,
                "title": title,
                "encrypted_content": "",
                "page_age": None,
            }
            for url, title in self._pages.items()
        ]


def has_citations(body: Json) -> bool:
    """Tell whether a request asks for citations of its documents, or an earlier answer in it has some.

    No chat backend can be told of either. Of messages that requests share only those that may are searched.
    """
    return any(
        _cites(block)
        for message in body["messages"]
        if type(message) is not SharedMessage or message.cites
        for block in _blocks(message.get("content"))
    )


def _cites(block: Json) -> bool:
    match block["type"]:
        case "text":
            return bool(block.get("citations"))
        case "document" | "search_result":
            asked = block.get("citations")
            return isinstance(asked, dict) and bool(asked.get("enabled"))
        case "tool_result":
            return any(map(_cites, _blocks(block.get("content"))))
        case _:
            return False


def _blocks(content: Any) -> list[Json]:
    return content if isinstance(content, list) else []


def sources_text(citations: list[Json]) -> str:
    """Write citations as text, for when the text they belong to is already closed."""
    lines = [f"- [{citation['title'] or citation['url']}]({citation['url']})" for citation in citations]
    return "\n".join(["Sources:", *lines])


def _citation(found: Json) -> Json:
    return {
        "type": "web_search_result_location",
        "url": found["url"],
        "title": text_of(found.get("title")) or None,
        "cited_text": text_of(found.get("content"))[:_CITED],
        "encrypted_index": "",
    }
