"""What an error quotes of a request is not written down; what it says besides is."""

from __future__ import annotations

import json
import re

import pytest

from coordinators.quotes import LEFT_OUT, without_quotes
from coordinators.scrubbing import without_password
from tasks.exchange import Exchange

PROMPT = 'My sister\'s name is "Anna Bell" and\nshe lives at 12 Größe Straße'


def asked(**more):
    body = {"model": "anthropic/claude-sonnet-4-5", "max_completion_tokens": 12, **more}
    return Exchange("req_1", {}, json.dumps(body, ensure_ascii=False).encode(), body)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"cannot do: {PROMPT}", f"cannot do: {LEFT_OUT}"),
        (f"cannot do {PROMPT} today", f"cannot do {LEFT_OUT}today"),
        (f"{PROMPT[3:40]} and {PROMPT[10:50]}", f"{LEFT_OUT} and {LEFT_OUT}"),
        ("all busy, come back later than now", "all busy, come back later than now"),
        ("there is no anthropic/claude-sonnet-4-5 here", "there is no anthropic/claude-sonnet-4-5 here"),
        ("max_completion_tokens: must be positive", "max_completion_tokens: must be positive"),
        ("", ""),
    ],
)
def test_only_what_is_quoted_is_left_out(text, kept):
    assert without_quotes(text, asked(prompt=PROMPT)).replace(f"{LEFT_OUT} ", LEFT_OUT) == kept.replace(
        f"{LEFT_OUT} ", LEFT_OUT
    )


def test_a_quote_that_is_put_together_of_two_is_left_out_whole():
    exchange = asked(a="the first of the two secrets", b="and the second of the secrets")
    told = without_quotes("no: the first of the two secretsand the second of the secrets", exchange)
    assert told == f"no: {LEFT_OUT}"


def test_a_request_too_large_to_look_through_costs_the_text():
    exchange = asked(prompt="x" * 3_000_000)
    assert "left out" in without_quotes("word " * 60, exchange)
    assert without_quotes("all of it is busy now", exchange) == "all of it is busy now"


def test_of_a_text_too_long_for_a_large_request_the_beginning_stays():
    exchange = asked(prompt="x" * 1_000_000 + PROMPT)
    told = without_quotes(f"no room here: {PROMPT} " + "and further words " * 20, exchange)
    assert told.startswith(f"no room here: {LEFT_OUT}")
    assert "left out" in told
    assert "further words " * 2 not in told


@pytest.mark.parametrize("upper", [False, True])
def test_a_quote_is_found_where_all_but_ascii_is_escaped(upper):
    """As Python's `json.dumps` does by itself, and .NET in upper case."""
    prompt = "Übermäßig geheime Größe der 🗝 und \x1b mehr"
    raw = json.dumps({"prompt": prompt})
    if upper:
        raw = re.sub(r"\\u([0-9a-f]{4})", lambda found: "\\u" + found[1].upper(), raw)
    exchange = Exchange("req_1", {}, raw.encode())
    assert without_quotes(f"no room: {prompt}", exchange) == f"no room: {LEFT_OUT}"
    assert without_quotes("no room: Überhaupt kein Platz für Größe", exchange) == (
        "no room: Überhaupt kein Platz für Größe"
    )


def test_what_a_failure_says_again_and_again_is_searched_for_once():
    exchange = asked(prompt="x" * 1000)
    told = "all busy, come back later than now"
    without_quotes(f"Overloaded: {told}", exchange)
    exchange.raw = b"{" + told.encode()  # nobody looks again
    assert without_quotes(told, exchange) == told


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:secret@host:8/x?a=b@c", "https://host:8/x?a=b@c"),
        ("http://host/a@b", "http://host/a@b"),
        ("workspace.example", "workspace.example"),
    ],
)
def test_an_address_is_shown_without_its_password(address, shown):
    assert without_password(address) == shown
