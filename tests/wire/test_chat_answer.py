"""A whole completion is its stream, folded: block for block, however the stream is cut into chunks."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.answers import call, calls, chunk, context, fold, run, sdk_message, sse
from wire.chat_answer import plain_message, to_message
from wire.chat_bytes import ChatBytes
from wire.errors import RateLimited, UpstreamFailed
from wire.sse import SseDecoder

if TYPE_CHECKING:
    from wire.messages import Json, Message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
DETAILS = st.lists(
    st.builds(
        lambda kind, said, index: {
            "type": f"reasoning.{kind[0]}",
            kind[1]: said,
            "format": "f",
            "index": index,
        },
        st.sampled_from([("text", "text"), ("summary", "summary"), ("encrypted", "data")]),
        TEXT.filter(bool),
        st.integers(0, 2),
    ),
    max_size=3,
)
TOOLS = st.lists(
    st.tuples(
        st.sampled_from(["Read", "Bash", "mcp__x__y"]), st.none() | st.dictionaries(TEXT, VALUES, max_size=3)
    ),
    max_size=4,
)
NOTES = st.lists(st.tuples(st.sampled_from(["https://a", "https://b"]), TEXT, TEXT), max_size=3)
SHOWN = {"reasoning.text": "text", "reasoning.summary": "summary", "reasoning.encrypted": ""}


@st.composite
def replies(draw: st.DrawFn) -> Json:
    """Draw a reply as a completion's message."""
    details = draw(DETAILS)
    message: Json = {"role": "assistant", "content": draw(st.none() | TEXT), "refusal": None}
    if details:
        message["reasoning_details"] = details
        message["reasoning"] = "".join(one.get(SHOWN[one["type"]], "") for one in details) or None
    else:
        message["reasoning"] = draw(st.none() | TEXT)
    if notes := draw(NOTES):
        message["annotations"] = [
            {"type": "url_citation", "url_citation": {"url": url, "title": title, "content": content}}
            for url, title, content in notes
        ]
    if tools := draw(TOOLS):
        message["tool_calls"] = [
            {
                "id": f"call_{place}",
                "type": "function",
                "function": {"name": name, "arguments": "" if given is None else json.dumps(given)},
            }
            for place, (name, given) in enumerate(tools)
        ]
    return message


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text anywhere."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:stop] for start, stop in zip([0, *places], [*places, len(text)], strict=True)]


def reasoning_deltas(draw: st.DrawFn, message: Json) -> list[Json]:
    if "reasoning_details" not in message:
        return [{"reasoning": piece} for piece in cut(draw, message["reasoning"] or "")]
    deltas = []
    for detail in message["reasoning_details"]:
        field = SHOWN[detail["type"]]
        if not field:
            deltas.append({"content": "", "reasoning": None, "reasoning_details": [detail]})
        pieces = cut(draw, detail[field]) if field else ()
        deltas.extend(
            {"content": "", "reasoning": piece, "reasoning_details": [{**detail, field: piece}]}
            for piece in pieces
        )
    return deltas


def tool_deltas(draw: st.DrawFn, message: Json) -> list[Json]:
    """Cut the calls' arguments, and mix the calls' pieces without changing the order within one."""
    lines = []
    for place, whole in enumerate(message.get("tool_calls", [])):
        function = whole["function"]
        head = call(place, function["name"], "", whole["id"])
        lines.append([head, *(call(place, None, piece) for piece in cut(draw, function["arguments"]))])
    mixed = [line.pop(0) for line in lines]  # every call begins in its turn
    while any(lines):
        line = draw(st.sampled_from([line for line in lines if line]))
        mixed.append(line.pop(0))
    return [{"content": None, "tool_calls": [piece]} for piece in mixed]


@st.composite
def replies_and_streams(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """Draw a reply, and one of the streams that tell it."""
    message = draw(replies())
    content = cut(draw, message["content"] or "")
    notes = message.get("annotations")
    texts: list[Json] = [{"role": "assistant", "content": piece} for piece in content]
    if notes and message["content"]:
        at = draw(st.integers(0, len(texts) - 1))
        for delta in [texts[at], texts[-1]]:
            delta["annotations"] = notes
    elif notes:
        texts.append({"annotations": notes})
    return message, [
        *({"role": "assistant", **delta} for delta in reasoning_deltas(draw, message)),
        *texts,
        *tool_deltas(draw, message),
    ]


def completion(message: Json, finish: str = "stop", **top: Any) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "gen-1", "object": "chat.completion", "choices": [choice], **top}


def steady(message: Message) -> Message:
    """Take the random part out of made ids."""
    steadied: Message = json.loads(re.sub(r'"(srvtoolu|toolu)_01\w{22}"', r'"\1_made"', json.dumps(message)))
    return steadied


@given(replies_and_streams(), st.booleans())
def test_stream_and_whole_are_equal(drawn: tuple[Json, list[Json]], web_search: bool) -> None:
    message, deltas = drawn
    usage = {"prompt_tokens": 10, "completion_tokens": 4}
    chunks = [*map(chunk, deltas), chunk({}, "stop"), {"choices": [], "usage": usage}, "[DONE]"]
    about = context(web_search=web_search)
    out, error = run(ChatBytes(about), [sse(*chunks)])
    assert error is None
    streamed = fold(json.loads(frame.data) for frame in SseDecoder().feed(out))
    whole = to_message(completion(message, usage=usage), about)
    assert steady(whole) == steady(streamed)
    read = {name: value for name, value in sdk_message(out).items() if value is not None}
    assert read == {name: value for name, value in streamed.items() if value is not None}


REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error", "", "odd", None, 7])
USAGES = st.none() | st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "cache_creation_input_tokens", "cost"]),
    st.integers(-1, 99),
)
BESIDE = st.dictionaries(
    st.sampled_from(["native_finish_reason", "stop_reason", "error", "delta", "logprobs"]),
    st.sampled_from([None, "refusal", "stop_sequence", "END", 0, {}]),
    max_size=2,
)


@given(
    replies() | st.builds(lambda text: {"role": "assistant", "content": text}, TEXT), REASONS, USAGES, BESIDE
)
def test_a_plain_answer_is_its_stream_folded(message: Json, reason: Any, usage: Any, beside: Json) -> None:
    about = context(stop_sequences=("END",))
    whole = completion(message, reason, usage=usage)
    whole["choices"][0] |= beside
    plain = plain_message(whole, whole["choices"][0], about)
    if plain is not None:
        said = chunk(message, reason)
        said["choices"][0] |= {name: value for name, value in beside.items() if name != "delta"}
        events = [{**said, **beside}, {"choices": [], "usage": usage}, "[DONE]"]
        out, error = run(ChatBytes(about), [sse(*events)])
        assert error is None
        assert plain == fold(json.loads(frame.data) for frame in SseDecoder().feed(out))


def test_only_text_and_nothing_else_is_plain() -> None:
    def is_plain(message: Json) -> bool:
        whole = completion(message)
        return plain_message(whole, whole["choices"][0], context()) is not None

    assert is_plain({"role": "assistant", "content": "a", "refusal": None, "tool_calls": []})
    for beside in ({"refusal": "no"}, {"reasoning": "b"}, {"images": [{}]}, {"annotations": [{}]}):
        assert not is_plain({"role": "assistant", "content": "a", **beside})


def test_a_whole_call_list_without_index_is_one_call_each() -> None:
    pieces = [call(None, "f", '{"a":1}', "c1"), call(None, "f", "", "c1"), 7]
    message = to_message(completion({"content": None, "tool_calls": pieces}, "tool_calls"), context())
    assert [block["input"] for block in message["content"]] == [{"a": 1}, {}]
    assert message["stop_reason"] == "tool_use"


def test_a_whole_answer_needs_no_finish_reason() -> None:
    message = to_message({"choices": [{"message": {"content": "a"}}]}, context())
    assert message["content"] == [{"type": "text", "text": "a"}]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] == 0


@pytest.mark.parametrize("message", [{"content": "a"}, {"content": "a", "reasoning": "b"}, {"content": None}])
@pytest.mark.parametrize("usage", [None, {}, 7, {"completion_tokens": 3}])
def test_what_nobody_told_is_zero_streamed_and_whole(message: Json, usage: Any) -> None:
    about = context(input_estimate=300_067)
    whole = to_message(completion(message, usage=usage), about)["usage"]
    assert (whole["input_tokens"], whole["cache_read_input_tokens"]) == (0, 0)
    out, _ = run(ChatBytes(about), [sse(chunk(message, "stop"), {"choices": [], "usage": usage}, "[DONE]")])
    assert b'"input_tokens":300067' in out.partition(b"\n\n")[0]
    read = {name: count for name, count in sdk_message(out)["usage"].items() if count is not None}
    assert read == whole


def test_an_error_inside_is_raised() -> None:
    with pytest.raises(RateLimited, match="slow"):
        to_message({"error": {"code": 429, "message": "slow"}}, context())
    with pytest.raises(RateLimited, match="slow"):
        to_message(
            completion({"content": "half"}, "error", error={"code": 429, "message": "slow"}), context()
        )


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": {}}, {"choices": ["a"]}])
def test_no_choices_is_no_answer(answer: Json) -> None:
    with pytest.raises(UpstreamFailed, match="holds no choices"):
        to_message(answer, context())


def test_an_empty_choice_is_no_answer() -> None:
    with pytest.raises(UpstreamFailed, match="before its answer began"):
        to_message({"choices": [{"message": "text"}]}, context())


FINISHES = ["stop", "tool_calls", "length", "content_filter", "model_context_window_exceeded"]
ODD = [
    '{"a":',
    '{"a":1,"b":["x","y',
    "[1]",
    "[1",
    "null",
    '"x"',
    "7",
    "true",
    "{",
    '{"a":1}}',
    '{"a":1}{"b":2}',
    '{"a":NaN}',
]


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("arguments", ODD)
def test_odd_arguments_are_what_the_sdk_reads_streamed_and_whole(arguments: str, finish: str) -> None:
    pieces = calls(call(0, "f", arguments, "c1"), call(1, "g", '{"b":2}', "c2"))
    out, error = run(ChatBytes(context()), [sse(pieces, chunk({}, finish), "[DONE]")])
    assert error is None
    whole = to_message(completion(pieces["choices"][0]["delta"], finish), context())
    read = json.loads(json.dumps(sdk_message(out)["content"]), parse_constant=lambda _: None)
    assert whole["content"] == read
    assert whole == fold(json.loads(frame.data) for frame in SseDecoder().feed(out))


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("arguments", ["foo", '{"a": }', "nul", '"x', "]", '{"a":' + "[" * 300])
def test_arguments_that_nobody_reads_are_an_error_streamed_and_whole(arguments: str, finish: str) -> None:
    pieces = calls(call(0, "f", arguments, "c1"))
    out, error = run(ChatBytes(context()), [sse(pieces, chunk({}, finish), "[DONE]")])
    assert isinstance(error, UpstreamFailed)
    assert b"content_block_delta" in out
    assert b"content_block_stop" not in out
    with pytest.raises(UpstreamFailed, match="'f' with arguments") as caught:
        to_message(completion(pieces["choices"][0]["delta"], finish), context())
    assert caught.value.message == error.message
