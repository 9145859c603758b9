"""Bodies: bytes in, objects out, and back; all that cannot be done is a 400."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from wire.body import DEEPEST, encode_body, json_type, parse_body, unwritable
from wire.errors import InvalidRequest


def nested(levels: int) -> dict[str, Any]:
    """Make an object that is `levels` deep."""
    value: Any = []
    for n in range(levels - 2):
        value = {"a": value} if n % 2 else [value]
    return {"top": value}


def test_a_body_is_parsed() -> None:
    assert parse_body(b'{"model": "m"}') == {"model": "m"}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1"),
        (b'{"api_key": "sk-secret', "line 1, column"),
        (b'{\n  "a": tru\n}', "line 2, column"),
        (b'{"a": NaN}', "column 7"),
        (b'{"a": Infinity}', "column 7"),
        (b'{"a": "\xff\xfe"}', "line 1, column 8: str is not valid UTF-8"),
        (b'{"u": "\xc3\xbc",\n "\xc3\xbc": "\xed\xa0\x80"}', "line 2, column 8: str is not valid UTF-8"),
        (
            b'{"messages": [],\n"a": "' + b"x" * 50_000 + b'\xff"}',
            "line 2, column 50007: str is not valid UTF-8",
        ),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": 1e999}', "infinity"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[" * 5000 + b"]" * 5000, "depth"),
        (b'{"messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "depth"),
        (b'{"a": ' * 50_000 + b"1" + b"}" * 50_000, "depth"),
        (b"[]", "not a list"),
        (b"null", "not null"),
        (b"3", "not a number"),
        (b'"x"', "not a string"),
        (b"true", "not a boolean"),
    ],
)
def test_what_is_no_object_is_refused_without_quoting_it(raw: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_body(raw)
    assert caught.value.message.startswith("body: ")
    assert said in caught.value.message
    assert "secret" not in caught.value.message


def test_an_object_is_an_object() -> None:
    assert json_type({}) == "an object"


def test_a_body_is_encoded() -> None:
    assert encode_body({"model": "ü"}) == '{"model":"ü"}'.encode()


def test_the_deepest_that_can_be_written_is_known() -> None:
    assert encode_body(nested(DEEPEST))
    with pytest.raises(InvalidRequest):
        encode_body(nested(DEEPEST + 1))


def test_a_body_too_deep_names_the_path() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": [nested(260)]}]}
    with pytest.raises(InvalidRequest, match=r"^messages\.0\.content\.0\..*…"):
        encode_body(body)


def test_a_value_that_is_not_json_is_named() -> None:
    assert unwritable({"a": [1, {"b": object()}]}) == "a.1.b"
    assert unwritable({"a": {1: "x"}}) == "a"
    assert unwritable([object()], "tools") == "tools.0"


def test_what_cannot_be_found_is_the_body() -> None:
    assert unwritable({"a": 2**70}) == "body"
    with pytest.raises(InvalidRequest, match=r"^body: "):
        encode_body({"a": 2**70})


def test_a_parsed_body_is_written_again() -> None:
    raw = orjson.dumps({"a": [1, 2.5, None, True, {"b": "✓"}]})
    assert encode_body(parse_body(raw)) == raw
