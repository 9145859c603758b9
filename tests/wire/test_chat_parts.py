"""Parts: what single blocks become."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.requests import EPHEMERAL, PDF, PNG, document, image, pdf, text
from wire.chat_parts import readable, user_parts

FILE = {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (image(), [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]),
        (
            {
                "type": "image",
                "source": {"type": "url", "url": "https://x/a.png"},
                "cache_control": EPHEMERAL,
            },
            [{"type": "image_url", "image_url": {"url": "https://x/a.png"}, "cache_control": EPHEMERAL}],
        ),
        (pdf(), [{"type": "file", "file": FILE}]),
        (
            pdf(title="Report", context="Annual.", cache_control=EPHEMERAL),
            [
                text("Title: Report\nContext: Annual."),
                {"type": "file", "file": FILE | {"filename": "Report.pdf"}, "cache_control": EPHEMERAL},
            ],
        ),
        (
            document({"type": "url", "url": "https://x/a.pdf"}, title="A.PDF", context=None),
            [
                text("Title: A.PDF"),
                {"type": "file", "file": {"filename": "A.PDF", "file_data": "https://x/a.pdf"}},
            ],
        ),
        (document({"type": "text", "data": "x"}, title="T"), [text("Title: T\n\nx")]),
        (
            document({"type": "text", "data": "x"}, cache_control=EPHEMERAL),
            [text("x", cache_control=EPHEMERAL)],
        ),
        (document({"type": "content", "content": "x"}), [text("x")]),
        (document({"type": "content", "content": []}), []),
        (
            document(
                {"type": "content", "content": [text("x"), image()]}, title="T", cache_control=EPHEMERAL
            ),
            [text("Title: T"), text("x"), user_parts(image(), "")[0] | {"cache_control": EPHEMERAL}],
        ),
        (
            {"type": "search_result", "source": "https://x", "title": "T", "content": [text("a"), text("b")]},
            [text("Search result: T\nSource: https://x\n\na\nb")],
        ),
        ({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}}, []),
    ],
)
def test_a_block_of_the_user(block: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    assert user_parts(block, "messages.0.content.0") == parts


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (
            {"type": "mcp_tool_use", "id": "m", "name": "list", "input": {"a": 1}, "server_name": "s"},
            '[called list: {"a":1}]',
        ),
        (
            {"type": "mcp_tool_result", "tool_use_id": "m", "content": [text("x", cache_control=EPHEMERAL)]},
            '[mcp_tool_result: {"content":[{"type":"text","text":"x"}]}]',
        ),
        (
            {"type": "web_search_tool_result", "content": {"error_code": "max_uses_exceeded"}},
            "[web search failed: max_uses_exceeded]",
        ),
        ({"type": "web_search_tool_result", "content": None}, "[web search failed: unknown error]"),
        (
            {"type": "web_fetch_tool_result", "content": {"type": "base64", "data": "x" * 99}},
            '[web_fetch_tool_result: {"content":{"type":"base64","data":"(99 characters of base64)"}}]',
        ),
        (
            {"type": "code_execution_tool_result", "content": {"data": "kept", "encrypted_stdout": "E"}},
            '[code_execution_tool_result: {"content":{"data":"kept"}}]',
        ),
    ],
)
def test_a_block_told_as_text(block: dict[str, Any], told: str) -> None:
    assert readable(block) == told
