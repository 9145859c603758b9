"""Base64 that is base64, and media types that tell the truth."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wire.requests import GIF, JPEG, PDF, PNG, WEBP
from wire.errors import InvalidRequest
from wire.media import check_media, guess, is_base64, looks_like

FILES = {
    "image/png": PNG,
    "image/jpeg": JPEG,
    "image/gif": GIF,
    "image/webp": WEBP,
    "application/pdf": PDF,
}


@pytest.mark.parametrize("told", FILES)
@pytest.mark.parametrize("true", FILES)
def test_only_the_true_media_type_passes(told: str, true: str) -> None:
    if told == true:
        check_media(FILES[true], told, "source")
        return
    with pytest.raises(InvalidRequest, match=rf"^source\.media_type: .* look like {true}"):
        check_media(FILES[true], told, "source")


def test_bytes_of_no_known_kind_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="they do not look like it"):
        check_media(base64.b64encode(b"hello there").decode(), "image/png", "source")
    assert guess(b"hello") is None


def test_an_unknown_media_type_looks_like_nothing() -> None:
    assert not looks_like(b"BM", "image/bmp")


def test_a_pdf_may_have_junk_before_its_header() -> None:
    check_media(base64.b64encode(b"\n" * 1000 + b"%PDF-1.4" + bytes(4000)).decode(), "application/pdf", "s")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "a",
        "ab",
        "abc",
        "ab=",
        "abcd=",
        "====",
        "=abc",
        "ab=c",
        "ab==cdef",
        "ab\ncd",
        "abc ",
        "é==",
        "aéb=",
        "-_-_",
    ],
)
def test_what_is_not_base64_is_refused(data: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^source\.data: "):
        check_media(data, "image/png", "source")


@example("0000=")
@given(
    st.text(alphabet="AZaz09+/=\n -é", max_size=24)
    | st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode())
)
def test_it_agrees_with_the_strict_decoder(text: str) -> None:
    try:
        binascii.a2b_base64(text, strict_mode=True)
        strict = len(text) % 4 == 0  # Python 3.11's decoder takes a padding that nothing needs: `0000=`
    except ValueError:
        strict = False
    assert is_base64(text) == strict
