"""Signatures: reasoning_details come back as they went, or not at all."""

from __future__ import annotations

import binascii
import random
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import signature
from wire.signature import MARK, pack_details, unpack_details

MODEL = "openai/gpt-5"
DETAILS = [
    {"type": "reasoning.text", "text": "Grüße ✓", "signature": None, "index": 0},
    {"type": "reasoning.encrypted", "data": "gAAAA" * 20, "id": "rs_1", "format": "openai-responses-v1"},
]


def test_details_come_back() -> None:
    packed = pack_details(DETAILS, MODEL)
    assert unpack_details(packed, MODEL) == DETAILS
    assert binascii.a2b_base64(packed, strict_mode=True)


def test_200_kb_come_back() -> None:
    details = [{"type": "reasoning.encrypted", "data": random.Random(1).randbytes(100_000).hex()}]
    assert unpack_details(pack_details(details, MODEL), MODEL) == details


def test_another_model_gets_nothing() -> None:
    assert unpack_details(pack_details(DETAILS, MODEL), "openai/gpt-5-mini") is None


@pytest.mark.parametrize(
    "foreign",
    ["", "EqQBCgIYAhIM1gbcDa9GJwZA2b3h", MARK, MARK + "!!!!", MARK + "é", MARK + "AAAA", MARK + "A" * 64],
)
def test_what_was_not_made_here_is_none(foreign: str) -> None:
    assert unpack_details(foreign, MODEL) is None


def test_damage_anywhere_is_noticed() -> None:
    packed = pack_details(DETAILS, MODEL)
    for at in range(len(MARK), len(packed), 7):
        other = "A" if packed[at] != "A" else "B"
        assert unpack_details(packed[:at] + other + packed[at + 1 :], MODEL) is None


def forged(plain: bytes) -> str:
    packed = zlib.compress(plain)
    return MARK + binascii.b2a_base64(signature._checksum(packed, MODEL) + packed, newline=False).decode()


@pytest.mark.parametrize("plain", [b"{}", b"[1]", b"[[]]", b"nonsense", b"", b"[" * 2000])
def test_a_forged_signature_gives_none(plain: bytes) -> None:
    assert unpack_details(forged(plain), MODEL) is None


def test_a_forged_signature_that_is_not_compressed_gives_none() -> None:
    junk = b"not zlib"
    whole = binascii.b2a_base64(signature._checksum(junk, MODEL) + junk, newline=False).decode()
    assert unpack_details(MARK + whole, MODEL) is None


def test_a_bomb_is_not_unfolded() -> None:
    assert unpack_details(forged(orjson.dumps([{"a": "0" * (signature.LARGEST + 1)}])), MODEL) is None


def test_details_too_large_or_too_deep_are_not_packed() -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    assert pack_details([deep], MODEL) == ""
    assert pack_details([{"a": "0" * signature.LARGEST}], MODEL) == ""
    assert unpack_details("", MODEL) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=4), max_size=4))
def test_any_details_come_back(details: list[dict[str, Any]]) -> None:
    assert unpack_details(pack_details(details, MODEL), MODEL) == details
