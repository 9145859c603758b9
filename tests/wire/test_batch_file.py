"""Files of batch requests: every form, every fault with its place, nothing changed on the way."""

from __future__ import annotations

import gzip
import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import batch_file
from wire.batch_body import BatchBody
from wire.batch_file import Survey, Wrong, body_of, requests_of, survey
from wire.errors import InvalidRequest

PARAMS: dict[str, Any] = {"model": "big", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def line(custom_id: Any, **changed: Any) -> str:
    return json.dumps({"custom_id": custom_id, "params": PARAMS, **changed})


def openai(custom_id: str, **changed: Any) -> str:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    told = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body, **changed}
    return json.dumps(told)


def a_file(*lines: str | bytes) -> io.BytesIO:
    return io.BytesIO(b"\n".join(one if isinstance(one, bytes) else one.encode() for one in lines))


def faults(*lines: str | bytes, model: str | None = None) -> list[str]:
    return [str(wrong) for wrong in survey(a_file(*lines), model).wrong]


def sent(file: io.BytesIO, model: str | None = None) -> list[Any]:
    """What a gateway makes of the body, whose size must be the one that was foretold."""
    whole = b"".join(body_of(file, model))
    found = survey(file, model)
    assert (found.faults, found.bytes) == (0, len(whole))
    body = BatchBody()
    taken = body.feed(whole)
    assert body.close() == found.requests
    return [(one.custom_id, json.loads(one.params)) for one in taken]


def test_anthropics_lines() -> None:
    file = a_file(line("a"), "", "  ", line("b-_9"), "")
    assert survey(file).form == "anthropic"
    assert sent(file) == [("a", PARAMS), ("b-_9", PARAMS)]
    assert [one.where for one in requests_of(file)] == ["line 1", "line 4"]


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf", b"\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_editors_marks_and_ends_of_lines(begin: bytes, end: str) -> None:
    file = io.BytesIO(begin + end.join([line("a"), line("b"), ""]).encode())
    assert [name for name, _ in sent(file)] == ["a", "b"]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_body_as_it_is_sent(indent: int | None) -> None:
    told = {"requests": [{"custom_id": name, "params": PARAMS} for name in "ab"]}
    file = io.BytesIO(b"\xef\xbb\xbf" + json.dumps(told, indent=indent).encode())
    assert sent(file) == [("a", PARAMS), ("b", PARAMS)]
    assert [one.where for one in requests_of(file)] == ["requests.0", "requests.1"]


def test_openais_lines_are_converted() -> None:
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    file = a_file(openai("a"), openai("b", body={"model": "gpt-4o", "max_tokens": 7, "messages": system}))
    assert survey(file).form == "openai"
    (_, first), (_, second) = sent(file)
    assert first["model"] == "gpt-4o"
    assert first["max_tokens"] > 0
    assert (second["system"], second["max_tokens"]) == ("Be brief.", 7)


def test_params_are_the_bytes_of_the_file() -> None:
    params = b'{ "model":"big","messages":[],  "x": 12345678901234567890123, "y":1.10, "z":"\\u00e9" }'
    file = a_file(b'{"custom_id":"a","params":%b}' % params)
    (request,) = requests_of(file)
    assert request.params == params
    (request,) = requests_of(file, "other")
    assert b"12345678901234567890123" in request.params
    assert b"1.10" in request.params
    assert json.loads(request.params)["model"] == "other"


def test_a_model_for_every_request() -> None:
    bare = {"messages": [{"role": "user", "content": "Hi"}]}
    assert sent(a_file(line("a", params=bare)), "small") == [("a", bare | {"model": "small"})]
    ((_, params),) = sent(a_file(openai("a", body=bare)), "small")
    assert params["model"] == "small"


FAULTS = [
    ('{"custom_id": "a"', "line 1: is no valid JSON: "),
    (b'{"custom_id": "\xff"}', "line 1: is no valid JSON: "),
    ("[]", 'line 1: is a JSON array: write {"requests": […]}, or one request a line'),
    ("3", "line 1: is no JSON object with `custom_id` and `params`"),
    ('{"params": {}}', "line 1: has no custom_id"),
    (line(""), 'line 1: custom_id "": must be 1 to 64 letters, digits, _ or -'),
    (line("a b"), 'line 1: custom_id "a b": must be'),
    (line("é"), 'line 1: custom_id "é": must be'),
    (line("a\n"), 'line 1: custom_id "a\\n": must be'),
    (line("x" * 65), "line 1: custom_id "),
    (line("x" * 500), "…: must be 1 to 64"),
    (line(3), "line 1: custom_id 3: must be"),
    (line(None), "line 1: custom_id null: must be"),
    ('{"custom_id": "a"}', "line 1: has no params"),
    (line("a", params=[]), "line 1: params is no JSON object"),
    (line("a", params={"model": "big"}), "line 1: params: has no `messages`"),
    (line("a", params={"messages": []}), "line 1: params: has no `model`; --model"),
    (line("a", params={"messages": [], "model": None}), "line 1: params: has no `model`; --model"),
    (line("a", method="POST"), "line 1: 'method' is no field of a request"),
    (openai("a", url="/v1/embeddings"), "line 1: is not for POST /v1/chat/completions"),
    (openai("a", method="GET"), "line 1: is not for POST /v1/chat/completions"),
    (openai("a", body=[]), "line 1: body is no JSON object"),
    (openai("a", body={"model": "m", "messages": []}), "line 1: body.messages: at least one message"),
    (openai("a", body={"model": "m", "n": 2, "messages": PARAMS["messages"]}), "line 1: body.n: "),
    (b"\xff\xfe{\x00", "line 1: begins with the mark of UTF-16: save the file as UTF-8"),
    ("", "there is no request in it"),
    (b"\xef\xbb\xbf\n \n", "there is no request in it"),
    ('{"requests": [', "body: ends too early"),
    ('{"requests": []}', "requests: must hold at least one request"),
    ('{"requests": [{"custom_id": "a b", "params": {}}]}', "requests.0.custom_id: must be"),
    ('{"requests": [{"custom_id": "a", "params": {}}]}', "requests.0: params: has no `messages`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), FAULTS)
def test_faults_are_told_with_their_place(text: str | bytes, why: str) -> None:
    (told,) = faults(text)
    assert why in told
    if not isinstance(text, bytes) and text.strip():
        with pytest.raises(InvalidRequest):
            list(requests_of(a_file(text)))


def deep(count: int) -> bytes:
    return b"[" * count + b"]" * count


DEEP = [
    b'{"custom_id":"a","params":{"messages":[],"model":"m","x":%b}}' % deep(1000),
    b'{"custom_id":"a","params":{"messages":[],"model":"m","x":%b}}' % deep(5000),
    b'{"custom_id":%b,"params":{}}' % deep(500),
    b'{"custom_id":"a","body":{"model":"m","messages":[{"role":"user","content":"Hi"}],"x":%b}}' % deep(500),
]


@pytest.mark.parametrize("text", DEEP, ids=["params", "very", "custom_id", "converted"])
def test_what_is_nested_too_deeply_is_a_fault_of_its_line(text: bytes) -> None:
    found = faults(b"", text, b"{")
    assert found[0] == "line 2: is nested too deeply"
    assert found[1].startswith("line 3: is no valid JSON")
    for model in (None, "big"):
        with pytest.raises(InvalidRequest, match="line 1: is nested too deeply"):
            list(requests_of(a_file(text), model))


def test_a_body_nested_too_deeply_is_a_fault_of_its_request() -> None:
    whole = b'{"requests":[{"custom_id":"a","params":{"messages":[],"model":"m","x":%b}}]}'
    assert faults(whole % deep(100_000)) == ["requests.0: nested too deeply"]
    limit = sys.getrecursionlimit()
    told = {tuple(faults(whole % deep(count))) for count in range(limit - 200, limit)}
    assert told == {(), ("requests.0: nested too deeply",)}


def test_lines_are_taken_or_refused_up_to_the_deepest_that_can_be_read() -> None:
    whole = b'{"custom_id":"a","params":{"messages":[],"model":"m","x":%b}}'
    limit = sys.getrecursionlimit()
    told = [faults(whole % deep(count)) for count in range(limit - 200, limit)]
    assert told[0] == []
    assert told[-1] == ["line 1: is nested too deeply"]
    assert told == sorted(told)


STREAMED = [True, "yes", 1, 0, {}]


@pytest.mark.parametrize("stream", STREAMED)
def test_a_request_for_a_stream_is_a_fault_in_every_form(stream: Any) -> None:
    why = ".stream: a batch's requests are answered whole; leave it out, or false"
    params = PARAMS | {"stream": stream}
    assert faults(line("a", params=params)) == [f"line 1: params{why}"]
    whole = json.dumps({"requests": [{"custom_id": "a", "params": params}]})
    assert faults(whole) == [f"requests.0: params{why}"]
    body = {"model": "m", "messages": PARAMS["messages"], "stream": stream}
    (told,) = faults(openai("a", body=body))
    assert told.startswith("line 1: body.stream: ")
    assert stream is not True or told.endswith(why[1:])


@pytest.mark.parametrize("stream", [None, False])
def test_a_request_for_no_stream_is_taken(stream: Any) -> None:
    params = PARAMS | {"stream": stream}
    assert sent(a_file(line("a", params=params))) == [("a", params)]
    body = {"model": "m", "messages": PARAMS["messages"], "stream": stream}
    assert faults(openai("a", body=body)) == []


@pytest.mark.parametrize("custom_id", ["doc/17", "x" * 65, "", "a b"])
def test_openais_custom_ids_that_anthropic_does_not_take_are_told_so(custom_id: str) -> None:
    (told,) = faults(openai(custom_id))
    assert told == (
        f'line 1: custom_id "{custom_id}": must be 1 to 64 letters, digits, _ or -: '
        "Anthropic's rule, which holds for OpenAI's requests here too"
    )


def test_every_fault_is_told() -> None:
    lines = [line("a"), "{", line("a"), openai("b"), line("c"), "[]", line("c")]
    assert faults(*lines) == [
        "line 2: is no valid JSON: unexpected end of data at character 2",
        "line 3: custom_id 'a' was line 1's already",
        "line 4: is an OpenAI request, and line 1 is an Anthropic request: one form a file",
        "line 6: is no JSON object with `custom_id` and `params`",
        "line 7: custom_id 'c' was line 5's already",
    ]
    assert "line 2: is an Anthropic request, and line 1 is an OpenAI" in faults(openai("a"), line("b"))[0]
    same = json.dumps({"requests": [{"custom_id": "a", "params": PARAMS}] * 2})
    assert faults(same) == ["requests.1: custom_id 'a' was requests.0's already"]


def test_of_many_faults_the_first_are_kept() -> None:
    found = survey(a_file(*["{"] * 30))
    assert (found.faults, len(found.wrong)) == (30, 20)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_file, "MOST_REQUESTS", 2)
    assert faults(*map(line, "abc")) == ["line 3: more than 2 requests, the most of one batch"]
    assert faults(*map(line, "ab")) == []
    monkeypatch.setattr(batch_file, "MOST_BYTES", 150)
    assert faults(*map(line, "ab")) == ["line 2: here the 150 bytes end that one batch may have"]
    monkeypatch.setattr(batch_file, "MOST_EACH", 120)
    long = line("b", params=PARAMS | {"system": "x" * 1000})
    told = faults(line("a"), long, line("c b"))
    assert told[0] == "line 2: is longer than 120 bytes"
    assert told[1].startswith('line 3: custom_id "c b": must be')


def test_compressed_files_are_read_as_any_other() -> None:
    packed = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress((line("a") + "\n" + line("b")).encode())))
    assert [one.custom_id for one in requests_of(packed)] == ["a", "b"]  # type: ignore[arg-type]
    assert survey(packed).requests == 2  # type: ignore[arg-type]


@given(
    st.lists(st.text(alphabet="abc-_", min_size=1, max_size=5), unique=True, min_size=1, max_size=40),
    st.data(),
)
def test_what_is_read_is_what_was_written(names: list[str], data: st.DataObject) -> None:
    texts = [data.draw(st.text(max_size=20)) for _ in names]
    made = [(name, PARAMS | {"system": text}) for name, text in zip(names, texts, strict=True)]
    lines = [json.dumps({"custom_id": name, "params": params}) for name, params in made]
    assert sent(a_file(*lines)) == made


def test_a_survey_of_nothing() -> None:
    assert Survey().faults == 0
    assert str(Wrong("", "why")) == "why"


def test_a_long_file_is_sent_in_pieces() -> None:
    lines = [line(f"q-{number}", params={**PARAMS, "metadata": "x" * 1000}) for number in range(600)]
    pieces = list(body_of(a_file(*lines)))
    assert len(pieces) > 2
    assert len(json.loads(b"".join(pieces))["requests"]) == 600
