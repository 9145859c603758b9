"""The guess at a request's tokens: by its bytes, but for files, which count by their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from wire.estimate import estimate_tokens

if TYPE_CHECKING:
    from wire.messages import Json

DATA = "A" * 900_000
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}}
ADDRESS = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PLAIN = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "word " * 1000}}


def body(content: Any) -> Json:
    return {"messages": [{"role": "user", "content": content}, {"role": "system", "output_config": {}}]}


def result(content: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": "a", "content": content}


def document(content: Any) -> Json:
    return {"type": "document", "source": {"type": "content", "content": content}}


@pytest.mark.parametrize(
    ("content", "files"),
    [
        ("word " * 1000, 0),
        ([{"type": "text", "text": "word " * 1000}], 0),
        ([PLAIN, ADDRESS, result("text"), {"type": "tool_result", "tool_use_id": "a"}, document("text")], 0),
        ([IMAGE], 1),
        ([{"type": "text", "text": "see"}, IMAGE, PDF], 2),
        ([result([{"type": "text", "text": "see"}, IMAGE, document([IMAGE])])], 2),
    ],
)
def test_files_count_by_their_number(content: Any, files: int) -> None:
    asked = body(content)
    size = len(orjson.dumps(asked))
    assert estimate_tokens(asked, size) == (size - files * len(DATA)) // 4 + files * 1_600


def test_something_is_always_there() -> None:
    assert estimate_tokens({"messages": []}, 0) == 1
