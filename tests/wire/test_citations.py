"""Which requests ask for citations, or have some: their answer says that a chat backend was not told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.wire.requests import assistant, call, document, request, result, text, user
from wire.check import check_request
from wire.citations import has_citations
from wire.interning import Interner, parse_interned

PLAIN: dict[str, Any] = {"type": "text", "media_type": "text/plain", "data": "Headgates stand upstream."}
WANTED = {"citations": {"enabled": True}}
PAGE = {
    "type": "web_search_result_location",
    "url": "https://a.com",
    "title": "A",
    "cited_text": "so",
    "encrypted_index": "",
}
FOUND: dict[str, Any] = {
    "type": "search_result",
    "source": "https://a.com",
    "title": "A",
    "content": [text("so")],
}
WITH = [
    [user(document(PLAIN, **WANTED), "What is it?")],
    [user(FOUND | WANTED, "What is it?")],
    [user("go"), assistant(call("t1")), user(result("t1", FOUND | WANTED))],
    [user("What is it?"), assistant(text("A gate.", citations=[PAGE])), user("Where?")],
]
WITHOUT = [
    [user('What are "citations"?')],
    [user(document(PLAIN, citations={"enabled": False}), document(PLAIN), "What is it?")],
    [user(document(PLAIN, citations=[]), text("What is it?", citations=[]))],
    [user("go"), assistant(call("t1", citations=["a"])), user(result("t1", "x"))],
    [user("What is it?"), assistant(text("A gate.", citations=None)), user(text("Where?"))],
]


@pytest.mark.parametrize(
    ("messages", "has"), [(said, True) for said in WITH] + [(said, False) for said in WITHOUT]
)
def test_citations_are_seen_wherever_they_are(messages, has):
    body = request(*messages)
    check_request(body)
    assert has_citations(body) is has
    assert has_citations(parse_interned(orjson.dumps(body), Interner())) is has


def test_a_shared_message_without_the_word_is_not_searched(monkeypatch):
    body = parse_interned(orjson.dumps(request(user("a"), assistant("b"), user("c"))), Interner())
    monkeypatch.setattr("wire.citations._cites", None)
    assert not has_citations(body)
