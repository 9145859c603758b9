"""What LiteLLM's own counter makes of a request: nothing that a model reads counts as nothing."""

from __future__ import annotations

import base64
import zlib

import pytest

from coordinators.counter_process import count, load_token_counter
from coordinators.pdf_pages import TOKENS_A_PAGE, pages, pdf_tokens

WORDS = "word " * 500
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": WORDS}}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def counter():
    return load_token_counter()


def search_result(text):
    content = [{"type": "text", "text": text}]
    return {"type": "search_result", "source": "https://a", "title": "A", "content": content}


def result(content):
    return {"type": "tool_result", "tool_use_id": "t", "content": content}


def server_use(kind, given):
    return {"type": kind, "id": "t", "name": "ask", "server_name": "s", "input": given}


def fetched(source):
    document = {"type": "document", "source": source}
    content = {"type": "web_fetch_result", "url": "https://a", "content": document}
    return {"type": "web_fetch_tool_result", "tool_use_id": "t", "content": content}


def ran(text):
    content = {"type": "code_execution_result", "stdout": text, "stderr": "", "return_code": 0, "content": []}
    return {"type": "code_execution_tool_result", "tool_use_id": "t", "content": content}


def pdf_of(raw):
    return {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(raw).decode()}


def document(source, **more):
    return {"type": "document", "source": source, **more}


PLAIN = [
    {"type": "text", "text": WORDS},
    {"type": "thinking", "thinking": WORDS, "signature": "s"},
    {"type": "tool_use", "id": "t", "name": "f", "input": {"a": WORDS}},
    search_result(WORDS),
    result(WORDS),
    result([{"type": "text", "text": WORDS}]),
    result([search_result(WORDS)]),
    result([document({"type": "text", "media_type": "text/plain", "data": WORDS})]),
    {"type": "compaction", "content": WORDS},
    server_use("mcp_tool_use", {"a": WORDS}),
    {"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": WORDS}]},
    {"type": "mcp_tool_result", "tool_use_id": "t", "content": WORDS},
    server_use("server_tool_use", {"code": WORDS}),
    ran(WORDS),
    fetched({"type": "text", "media_type": "text/plain", "data": WORDS}),
    document({"type": "text", "media_type": "text/plain", "data": "x"}, title="t", context=WORDS),
    document({"type": "content", "content": WORDS}),
    document({"type": "content", "content": [{"type": "text", "text": WORDS}]}),
]


def tokens_of(counter, *blocks, role="user", **more):
    return count({"messages": [{"role": role, "content": list(blocks)}], **more}, "claude-opus-4-6", counter)


@pytest.mark.parametrize("block", PLAIN, ids=lambda block: block["type"])
def test_five_hundred_words_are_five_hundred_tokens_in_any_block(counter, block):
    assert 500 <= tokens_of(counter, block) < 620


def test_what_one_block_is_changes_no_other(counter):
    told = {"type": "text", "text": WORDS}
    empty = [{"type": "compaction", "content": None}, {"type": "fallback"}, result(None), result([])]
    assert 2000 < tokens_of(counter, told, search_result(WORDS), *empty, ran(WORDS), told) < 2200


def test_examples_of_a_tool_and_the_wanted_format_count(counter):
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    bare = tokens_of(counter, tools=[tool])
    assert 500 <= tokens_of(counter, tools=[tool | {"input_examples": [{"a": WORDS}]}]) - bare < 560
    wanted = {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert 500 <= tokens_of(counter, tools=[tool], output_config=wanted) - bare < 560


@pytest.mark.parametrize("odd", [{"type": "array"}, True, {"type": ["array", "null"]}])
def test_schemas_that_litellm_cannot_read_are_counted_as_they_are(counter, odd):
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": WORDS}, "b": odd}}
    tools = [{"name": "f", "input_schema": schema}]
    assert 500 <= tokens_of(counter, {"type": "text", "text": "Hi"}, tools=tools) < 620


@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "image/png", "data": PIXEL},
        {"type": "url", "url": "http://127.0.0.1:9/never-fetched.png"},
        {"type": "file", "file_id": "file_1"},
    ],
    ids=lambda source: source["type"],
)
def test_an_image_counts_wherever_it_is(counter, source):
    image = {"type": "image", "source": source}
    for block in (image, result([image]), document({"type": "content", "content": [image]})):
        assert 550 < tokens_of(counter, block, {"type": "text", "text": WORDS}) < 900


def test_a_pdf_counts_by_its_pages(counter):
    raw = b"%PDF-1.4\n<< /Type /Pages /Count 3 >>" + b"<< /Type /Page >>" * 2 + b"<</Type/Page/Parent 1 0 R>>"
    for block in (document(pdf_of(raw), title="T"), result([document(pdf_of(raw))]), fetched(pdf_of(raw))):
        assert 0 <= tokens_of(counter, block) - 3 * TOKENS_A_PAGE < 90
    for source in ({"type": "url", "url": "https://a/b.pdf"}, {"type": "file", "file_id": "f"}):
        assert 0 <= tokens_of(counter, document(source)) - TOKENS_A_PAGE < 30
    gone = {"type": "web_fetch_tool_result_error", "error_code": "url_not_accessible"}
    assert tokens_of(counter, {"type": "web_fetch_tool_result", "tool_use_id": "t", "content": gone}) < 60


def packed(inner):
    return (
        b"1 0 obj << /Type /ObjStm /N 2 /Filter /FlateDecode >>\nstream\r\n" + inner + b"\nendstream endobj"
    )


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"%PDF-1.4", 1),
        (b"%PDF-1.4" + bytes(1_000_000), 16),
        (b"%PDF-1.5 " + packed(zlib.compress(b"<</Type/Page>> <</Type /Page /Parent 1 0 R>>")), 2),
        (b"%PDF-1.5 " + packed(b"not deflated at all"), 1),
        (b"%PDF-1.5 /Type/ObjStm >>stream\n" + zlib.compress(b"/Type/Page")[:-3], 1),
        (b"%PDF-1.5 " + packed(zlib.compress(bytes(200_000_000))), 3),
        (b"%PDF-1.5 /Type /ObjStm" + bytes(1000), 1),
        (b"%PDF-1.5 " + packed(zlib.compress(bytes(9_000_000))) * 400, 55),
        (b"%PDF-1.5 " + b"/Type/ObjStm" * 1_500_000, 275),
    ],
)
def test_pages(raw, found):
    assert pages(raw) == found


def test_what_is_no_base64_is_a_page():
    assert pdf_tokens("x") == TOKENS_A_PAGE
