"""Secrets do not get into what is written, by a table and by chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinators.scrubbing import MASK, Scrubber

SECRETS = [
    "sk-ant-api03-AbCdEfGhIjKlMnOpQrSt",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "dapi0123456789abcdef0123456789abcdef",
    "dapi0123456789abcdef0123456789abcdef-2",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "hg_0123456789abcdefghijklmnopqrstuvwxyz-_ABCDE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
]
PLACES = [
    "{}",
    "key {} was refused",
    '{{"a": "{}"}}',
    "https://x.example/?k={}&b=1",
    "({})",
    "[{}, 1]",
    "a\n{}\n",
]
NAMED = [
    "x-api-key: {}", "X-API-Key:{}", "api_key={}", "OPENROUTER_API_KEY={}", '{{"x-api-key": "{}"}}',
    '{{"authorization":"Bearer {}"}}', "Authorization: Bearer {}", "authorization: Basic {}",
    "{{'x-api-key': '{}'}}", "[(b'x-api-key', b'{}')]", '["x-api-key","{}"]', "password={}",
    "AWS_SECRET_ACCESS_KEY={}", '{{\\"api_key\\":\\"{}\\"}}', "https://user:{}@db.example/x",
    "postgresql://headgate:{}@127.0.0.1:5432/db", "redis://:{}@127.0.0.1:6379", "?token={}&x=1",
    "x-headgate-admin-key: {}", "bearer {}",
]  # fmt: skip
ORDINARY = [
    '{"event":"request","output_tokens":12,"input_tokens":4,"model":"anthropic/claude-sonnet-4","status":200}',
    "max_tokens: must be a positive integer", "cache_key 0123", "the task-force", "https://openrouter.ai/api/v1",
    "tokens per second: 4000", "key 12 of 13", "user@example.com", "OPENROUTER_API_KEY was refused",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_masked_wherever_it_is(secret, place):
    told = place.format(secret)
    assert Scrubber().text(told) == place.format(MASK)


@pytest.mark.parametrize("form", NAMED)
def test_what_stands_beside_a_secrets_name_is_masked(form):
    told = form.format("hunter2-and-more")
    scrubbed = Scrubber().text(told)
    assert "hunter2" not in scrubbed
    assert MASK in scrubbed


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_lines_stay_as_they_are(text):
    assert Scrubber(["our-own-key"]).text(text) == text


def test_the_configured_secrets_are_masked_whatever_they_look_like():
    scrubber = Scrubber(["correct horse", 'with "quotes" \\ and more', "short"])
    assert scrubber.text("it was correct horse, or not") == f"it was {MASK}, or not"
    assert scrubber.value({"said": 'with "quotes" \\ and more'}) == {"said": MASK}
    assert scrubber.text("a short word") == "a short word"


def test_values_are_masked_at_any_depth():
    scrubbed = Scrubber(["correct horse"]).value(
        {
            "a": ["correct horse", {"x-api-key": "anything"}],
            "n": 3,
            "ok": True,
            "none": None,
            "b": b"dapi" + b"0" * 32,
        }
    )
    assert scrubbed == {"a": [MASK, {"x-api-key": MASK}], "n": 3, "ok": True, "none": None, "b": MASK}
    deep: list = ["x"]
    for _ in range(50):
        deep = [deep]
    assert MASK in str(Scrubber().value(deep))


def test_an_event_is_masked_in_place_but_for_our_own_ids():
    event = {
        "event": "asked with sk-12345678901",
        "token": "abc",
        "n": 1,
        "model": "m",
        "tags": ["dapi" + "0" * 20],
    }
    event["request_id"] = "sk-or-an-id-of-ours"
    Scrubber().event(event, plain={"request_id"})
    assert event.pop("request_id") == "sk-or-an-id-of-ours"
    assert event == {"event": f"asked with {MASK}", "token": MASK, "n": 1, "model": "m", "tags": [MASK]}


KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6, max_size=40).map(str.strip).filter(
    lambda key: len(key) >= 6 and key not in "masked " * 9 and "*" not in key
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(KEYS, TEXTS, TEXTS)
def test_a_configured_key_never_comes_through(key, before, after):
    scrubber = Scrubber([key])
    assert key not in scrubber.text(f"{before}{key}{after}")
    event = {"event": f"{before}{key}{after}", "n": [1, None, {key: key}]}
    scrubber.event(event)
    assert key not in repr(event["event"])
    assert event["n"] == [1, None, {MASK: MASK}]


@given(st.sampled_from(SECRETS), TEXTS, TEXTS)
def test_a_secret_by_form_never_comes_through(secret, before, after):
    assert secret not in Scrubber().text(f"{before} {secret} {after}")


@given(TEXTS)
def test_masking_again_changes_nothing(text):
    once = Scrubber().text(text)
    assert Scrubber().text(once) == once


@pytest.mark.parametrize("piece", ["a", "x-", "token ", "://", "sk-", "api_key", "eyJ.", '["x-'])
def test_long_texts_do_not_blow_up(piece):
    assert Scrubber().text(piece * 20_000 + "@ sk-")
