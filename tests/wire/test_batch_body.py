"""The body of a batch: read as it comes, cut anywhere, refused with the place of what is wrong."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.batch_body import BatchBody, BatchRequest
from wire.errors import GatewayError, InvalidRequest, RequestTooLarge

PARAMS = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
TRICKY = {
    "text": 'a "quoted" } brace { and \\ backslash \\" and \\\\',
    "} {": ["\\", '"', "{", "}", "[", "]", "é😀\u2028", ""],
    "nested": {"custom_id": "x", "params": {"a": [{}, {"b": {}}]}},
    "text2": '},{"custom_id":"fake","params":{}},',
}


def read(body: bytes, *cuts: int, **limits: int) -> list[BatchRequest]:
    reader = BatchBody(**limits)
    found = [one for start, end in pairwise((0, *cuts, len(body))) for one in reader.feed(body[start:end])]
    assert reader.close() == reader.count == len(found)
    assert reader.size == len(body)
    return found


def body_of(*params: object, **dump: object) -> bytes:
    requests = [{"custom_id": f"item-{place}", "params": one} for place, one in enumerate(params)]
    return json.dumps({"requests": requests}, **dump).encode()


def refusal(body: bytes, *cuts: int, **limits: int) -> str:
    with pytest.raises(GatewayError) as caught:
        read(body, *cuts, **limits)
    return caught.value.message


def as_json_has_them(body: bytes) -> list[tuple[str, object]]:
    return [(one["custom_id"], one["params"]) for one in json.loads(body)["requests"]]


def parsed(found: list[BatchRequest]) -> list[tuple[str, object]]:
    return [(one.custom_id, json.loads(one.params)) for one in found]


STYLES = [{}, {"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}, {"sort_keys": True}]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_cut_at_every_byte(style):
    body = body_of(TRICKY, PARAMS, TRICKY, {}, PARAMS, **style)
    whole = read(body)
    assert parsed(whole) == as_json_has_them(body)
    for cut in range(len(body) + 1):
        assert read(body, cut) == whole
    assert read(body, *range(1, len(body))) == whole


def test_params_are_the_clients_own_bytes():
    odd = b'{ "a" : 1.0e3,\t"a":2 ,"\\u0062": "\\/" }'
    body = b' \r\n{ "requests" : [ {"params":' + odd + b' , "custom_id" : "x-Y_9"} ] } \n'
    assert read(body) == [BatchRequest("x-Y_9", odd)]


def test_a_name_may_be_written_with_escapes():
    assert len(read(b'{"re\\u0071uests":[{"custom\\u005fid":"a","params":{}}]}')) == 1


def test_the_last_of_a_field_given_twice_counts_as_everywhere():
    body = b'{"requests":[{"custom_id":"a","custom_id":"b","params":{"x":1},"params":{"y":2}}]}'
    assert parsed(read(body)) == as_json_has_them(body) == [("b", {"y": 2})]


texts = st.text() | st.text(st.sampled_from('\\"{}[],: \n\u00e9'))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
names = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
items = st.tuples(names, st.dictionaries(texts, values, max_size=4), st.booleans())
STYLE = st.sampled_from(STYLES)


def without_surrogates(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.lists(items, min_size=1, max_size=8).filter(without_surrogates), STYLE, st.data())
def test_what_json_reads(requests, style, data):
    listed = [
        {"params": params, "custom_id": name} if turned else {"custom_id": name, "params": params}
        for name, params, turned in requests
    ]
    body = json.dumps({"requests": listed}, **style).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    assert parsed(read(body, *cuts)) == as_json_has_them(body)


@given(st.binary(max_size=6), st.data())
def test_what_json_refuses_is_refused(junk, data):
    """Bytes put anywhere, or cut out: accepted only if JSON accepts them, and read alike."""
    body = bytearray(body_of(TRICKY, PARAMS))
    at = data.draw(st.integers(0, len(body)))
    body[at : at + data.draw(st.integers(0, 3))] = junk
    whole = bytes(body)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    try:
        found = read(whole, *cuts)
    except InvalidRequest:
        return
    assert parsed(found) == as_json_has_them(whole)


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_is_cut_short_is_refused(cut):
    assert "ends too early" in refusal(body_of(PARAMS)[:-cut])


ONE = b'{"custom_id":"a","params":{}}'
WRONG = [
    (b"", "body: is empty"),
    (b"  ", "body: ends too early, after byte 2"),
    (b"[]", "body: must be a JSON object"),
    (b"null", "body: must be a JSON object"),
    (b"\xef\xbb\xbf{}", "body: not valid JSON: at byte 0"),
    (b"<html>", "body: not valid JSON: at byte 0"),
    (b"{}", "requests: must be given"),
    (b"{,", "body: not valid JSON: at byte 1"),
    (b'{"\\x":1}', "body: not valid JSON: at byte 1"),
    (b'{"model":"x","requests":[]}', "model: is not a field of a batch"),
    (b'{"' + b"x" * 300, "body: has a field whose name is too long"),
    (b'{"requests"=[]}', "body: not valid JSON: at byte 11"),
    (b'{"requests":{}}', "requests: must be a list"),
    (b'{"requests":nonsense}', "requests: must be a list"),
    (b'{"requests":[]}', "requests: must hold at least one request"),
    (b'{"requests":[1]}', "requests.0: must be an object"),
    (b'{"requests":[%b,"x"]}' % ONE, "requests.1: must be an object"),
    (b'{"requests":[%b,]}' % ONE, "body: not valid JSON: after requests.0, at byte 43"),
    (b'{"requests":[%b %b]}' % (ONE, ONE), "body: not valid JSON: after requests.0, at byte 43"),
    (b'{"requests":[%b],"requests":[%b]}' % (ONE, ONE), "requests: is given twice"),
    (b'{"requests":[%b],"model":[]}' % ONE, "model: is not a field of a batch"),
    (b'{"requests":[%b],}' % ONE, "body: not valid JSON: after requests.0"),
    (b'{"requests":[%b]}{}' % ONE, "body: not valid JSON: after requests.0, at byte 44"),
    (b'{"requests":[%b,{"params":{}}]}' % ONE, "requests.1.custom_id: must be given"),
    (b'{"requests":[{"custom_id":"a"}]}', "requests.0.params: must be given"),
    (b'{"requests":[{"custom_id":5,"params":{}}]}', "requests.0.custom_id: must be a string"),
    (b'{"requests":[{"custom_id":"a","params":[]}]}', "requests.0.params: must be an object, not a list"),
    (
        b'{"requests":[{"custom_id":"a","params":"%b"}]}' % (b"x" * 999),
        "requests.0.params: must be an object, not a string",
    ),
    (
        b'{"requests":[{"custom_id":"a","params":1e999}]}',
        "requests.0.params: must be an object, not a number",
    ),
    (
        b'{"requests":[{"custom_id":"a","params":true}]}',
        "requests.0.params: must be an object, not a boolean",
    ),
    (b'{"requests":[{"custom_id":"a","params":null}]}', "requests.0.params: must be an object, not null"),
    (b'{"requests":[{"custom_id":5,"params":{} x}]}', "requests.0: not valid JSON, counted from byte 13"),
    (
        b'{"requests":[{"custom_id":5,"params":%b%b}]}' % (b"[" * 9999, b"]" * 9999),
        "requests.0: nested too deeply",
    ),
    (b'{"requests":[{"custom_id":"a","params":{},"x":1}]}', "requests.0.x: is not a field of a request"),
    (
        b'{"requests":[{"custom_id":"a","params":{"b":[}]}}]}',
        "requests.0: not valid JSON, counted from byte 13",
    ),
    (b'{"requests":[{"custom_id":"a","params":{"b":NaN}}]}', "requests.0: not valid JSON"),
    (b'{"requests":[{"custom_id":"a","params":{"b":"\n"}}]}', "requests.0: not valid JSON"),
    (b'{"requests":[{"custom_id":"a","params":{"b":"\\ud800"}}]}', "requests.0: not valid JSON"),
    (b'{"requests":[{"custom_id":"a","params":{"b":"\xff"}}]}', "body: not valid UTF-8"),
    (b'{"requests":[%b]}\xc3' % ONE, "body: not valid JSON: after requests.0"),
    (b'{"requests":[{"custom_id":"a","params":{"b":"\xed\xa0\x80"}}]}', "body: not valid UTF-8"),
]


@pytest.mark.parametrize(("body", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_is_wrong_is_told_with_its_place(body, told):
    assert refusal(body).startswith(told)
    assert refusal(body, *range(1, len(body))).startswith(told)


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ä", "a\n", "a/b", "\u0000"])
def test_a_custom_id_has_its_letters(name):
    items = [{"custom_id": f"i{n}", "params": PARAMS} for n in range(17)]
    body = json.dumps({"requests": [*items, {"custom_id": name, "params": {}}]}).encode()
    assert refusal(body).startswith("requests.17.custom_id: must be 1 to 64 letters")


def test_a_text_cut_within_a_character():
    body = body_of({"a": "é😀"}, ensure_ascii=False)
    assert read(body, *range(1, len(body))) == read(body)
    half = body[: body.index("😀".encode()) + 2]
    assert "ends too early" in refusal(half)
    assert "UTF-8" in refusal(half + b'"}}]}')


def test_deep_nesting_is_refused_and_does_no_harm():
    deep = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
    body = b'{"requests":[%b,{"custom_id":"b","params":%b}]}' % (ONE, deep)
    assert refusal(body) == "requests.1: nested too deeply"
    assert "nested too deeply" in refusal(body, *range(0, len(body), 4096))
    lists = b'{"requests":[{"custom_id":"b","params":{"a":%b' % (b"[" * 100_000)
    assert "ends too early" in refusal(lists)


def test_limits():
    body = body_of(PARAMS, PARAMS, PARAMS)
    assert len(read(body, most_requests=3, most_bytes=len(body))) == 3
    assert refusal(body, most_requests=2) == "requests: must hold at most 2 requests"
    assert refusal(body, 40, most_bytes=len(body) - 1).startswith("the batch exceeds ")
    large = body_of(PARAMS, {"a": "x" * 5000}, PARAMS)
    assert len(read(large, most_each=5100)) == 3
    for cuts in [(), range(0, len(large), 100)]:
        with pytest.raises(RequestTooLarge, match=r"requests\.1: exceeds"):
            read(large, *cuts, most_each=5000)


def test_one_request_is_held_and_no_more():
    """Whatever has been given is forgotten, and what can no longer fit is refused before it is here."""
    reader = BatchBody(most_each=10_000)
    reader.feed(b'{"requests":[')
    for place in range(1000):
        assert (
            len(
                reader.feed(
                    b'%b{"custom_id":"i%d","params":{"a":"%b' % (b"," * (place > 0), place, b"x" * 999)
                )
            )
            == 0
        )
        assert len(reader.feed(b'"}}')) == 1
        assert len(reader._buffer) == 0
    reader.feed(b',{"custom_id":"last","params":{"a":"')
    for _ in range(9):
        reader.feed(b"x" * 1000)
    with pytest.raises(RequestTooLarge):
        reader.feed(b"x" * 1000)


def test_requests_that_begin_in_another_way_than_the_first():
    """The guess fails again and again, and is given up; what looks like the next request does no harm."""
    nested = b'{"custom_id":"a","params":{"b":[{},{"custom_id":"no"},{"custom_id":"no"}]}}'
    turned = b'{"params":{},"custom_id":"t"}'
    for following in (nested, turned, ONE):
        body = b'{"requests":[%b]}' % b",".join([ONE, *[following] * 30, ONE, nested, turned, ONE])
        for cuts in [(), range(0, len(body), 7)]:
            assert parsed(read(body, *cuts)) == as_json_has_them(body)
