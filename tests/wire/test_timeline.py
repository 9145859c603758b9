"""Stored answers: what was encoded is decoded, stored streams fold and unfold, and junk is refused."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.answers import RECORDINGS, events_of, fold, sdk_message
from wire import timeline
from wire.errors import UpstreamFailed
from wire.sse import PING, encode_event
from wire.timeline import Junk, Tick, decode, encode, facts_of
from wire.unfold import fold_bytes, unfold, unfold_bytes

KEY = b"k" * 32
USAGE = {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 0}

texts = st.text(max_size=20)
inputs = st.dictionaries(
    texts, st.recursive(st.none() | st.integers(-9, 9) | texts, st.lists, max_leaves=4), max_size=3
)
blocks = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries(
        {
            "type": st.just("text"),
            "text": texts,
            "citations": st.lists(st.just({"type": "char_location"}), max_size=2),
        }
    ),
    st.fixed_dictionaries({"type": st.just("text"), "text": texts, "citations": st.none()}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": texts}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": texts}),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["tool_use", "server_tool_use"]),
            "id": texts,
            "name": texts,
            "input": inputs | st.none() | st.lists(st.integers(0, 9), max_size=2),
        }
    ),
)


def message(content: list[Any], **changed: Any) -> dict[str, Any]:
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content}
    return told | {"stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE} | changed


@given(st.lists(blocks, max_size=4))
def test_unfolded_messages_fold_to_themselves(content: list[Any]) -> None:
    whole = message(content)
    data = unfold_bytes(whole)
    assert fold(events_of(data)) == whole
    assert fold_bytes(data) == whole


def test_the_sdk_reads_an_unfolded_message() -> None:
    content = [
        {"type": "thinking", "thinking": "so", "signature": "sig"},
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "/x"}},
    ]
    assert sdk_message(unfold_bytes(message(content, stop_reason="tool_use")))["content"] == content


def test_a_message_without_much_in_it_unfolds() -> None:
    assert [event["type"] for event in unfold({})] == ["message_start", "message_delta", "message_stop"]


pieces = st.lists(st.tuples(st.integers(0, 2**33), st.binary(max_size=60)), min_size=1, max_size=6)
facts = st.dictionaries(st.text(max_size=5), st.integers(0, 9) | st.text(max_size=5), max_size=3)


@given(st.binary(min_size=1, max_size=32), facts, st.binary(max_size=99), pieces)
def test_what_was_encoded_is_decoded(key: bytes, told: dict[str, Any], whole: bytes, ticks: Any) -> None:
    ticks = [Tick(ms, data) for ms, data in ticks]
    stream = b"".join(tick.data for tick in ticks)
    if not whole and not stream:
        return
    value = encode(key, told, whole, ticks)
    entry = decode(key, value)
    assert entry.facts == told
    assert entry.message() == entry.message() == whole
    assert entry.has_message is bool(whole)
    if stream:
        assert decode(key, value).pieces() == [Tick(0, stream)]
        paced = decode(key, value).pieces(paced=True)
        assert [tick.data for tick in paced] == [tick.data for tick in ticks]
        assert [tick.ms for tick in paced] == [min(tick.ms, 2**32 - 1) for tick in ticks]


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("**/*.sse")), ids=lambda path: path.name)
def test_recorded_streams_are_replayed_as_they_came(path: Any) -> None:
    data = path.read_bytes()
    ticks = [Tick(n, data[start : start + 700]) for n, start in enumerate(range(0, len(data), 700))]
    assert decode(KEY, encode(KEY, {}, b"", ticks)).pieces()[0].data == data


def test_an_answer_that_never_was_a_stream_is_made_one() -> None:
    whole = message([{"type": "text", "text": "hi"}])
    entry = decode(KEY, encode(KEY, {}, orjson.dumps(whole)))
    assert entry.pieces() == entry.pieces(paced=True) == [Tick(0, unfold_bytes(whole))]


VALUE = encode(KEY, {"stored": 1}, b"{}", [Tick(0, b"data: 1\n\n"), Tick(7, b"data: 2\n\n")])


@given(st.binary(max_size=120))
def test_junk_is_refused(junk: bytes) -> None:
    for value in (junk, b"HGA1" + junk, VALUE[: len(junk)], VALUE + junk[:1] + b"x"):
        with pytest.raises(Junk):
            decode(KEY, value)


@given(st.integers(0, len(VALUE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, flip: int) -> None:
    changed = bytearray(VALUE)
    changed[place] ^= flip
    with pytest.raises(Junk):
        decode(KEY, bytes(changed))


def test_an_answer_under_another_key_is_refused() -> None:
    with pytest.raises(Junk, match="under this key"):
        decode(b"x" * 32, VALUE)


def forged(*parts: bytes) -> bytes:
    """Write a value as somebody would who knows how the digest is made."""
    rest = struct.pack("<IIII", *map(len, parts)) + b"".join(parts)
    return b"HGA1" + timeline._digest(KEY, rest) + rest


PACK = zlib.compress
FORGED = {
    "nothing is stored": forged(b"{}", b"", b"", b""),
    "the facts are no JSON": forged(b"{", PACK(b"{}"), b"", b""),
    "the facts are no object": forged(b"[]", PACK(b"{}"), b"", b""),
    "cannot be unpacked": forged(b"{}", b"junk", b"", b"junk"),
    "too large, or cut": forged(b"{}", PACK(b"{}")[:-4], b"", PACK(b"x") + b"more"),
    "half a tick": forged(b"{}", b"", PACK(b"abc"), PACK(b"x")),
    "not those of the stream": forged(b"{}", b"", PACK(struct.pack("<II", 0, 9)), PACK(b"x")),
    "the message is none": forged(b"{}", PACK(b"[1]"), b"", b""),
}


@pytest.mark.parametrize("why", FORGED)
def test_forged_values_are_refused(why: str) -> None:
    with pytest.raises(Junk, match=why):
        decode(KEY, FORGED[why]).pieces(paced=True)


def test_the_lengths_must_be_those_of_the_parts() -> None:
    rest = struct.pack("<IIII", 2, 9, 0, 0) + b"{}"
    with pytest.raises(Junk, match="lengths"):
        decode(KEY, b"HGA1" + timeline._digest(KEY, rest) + rest)


def test_what_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "LARGEST", 100)
    with pytest.raises(Junk, match="too large"):
        decode(KEY, encode(KEY, {}, b"x" * 101)).message()


def test_facts_alone() -> None:
    assert facts_of(b'{"a":1}') == {"a": 1}


START = unfold_bytes(message([]))
NOT_UNDERSTOOD = {
    "an unknown event": encode_event({"type": "news"}),
    "an unknown delta": encode_event(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "smell_delta"}}
    ),
    "no JSON": b"data: {\n\n",
    "a delta without a block": encode_event(
        {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "x"}}
    ),
    "no object": b"data: 3\n\n",
}


@pytest.mark.parametrize("what", NOT_UNDERSTOOD)
def test_a_stream_that_is_not_understood_has_no_message(what: str) -> None:
    assert fold_bytes(START + NOT_UNDERSTOOD[what]) is None


def test_pings_fold_to_nothing() -> None:
    assert fold_bytes(START + PING) == fold_bytes(START)


def test_a_call_with_an_input_that_nobody_reads_has_no_message() -> None:
    block = {"type": "tool_use", "id": "1", "name": "Read", "input": {"a": 1}}
    data = unfold_bytes(message([block], stop_reason="tool_use")).replace(b'{\\"a\\":1}', b'{\\"a\\" 1}')
    with pytest.raises(UpstreamFailed):
        fold(events_of(data))
    assert fold_bytes(data) is None
