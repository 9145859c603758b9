"""Chat chunks to Anthropic blocks: every shape a backend has been seen to send."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.answers import MODEL, call, calls, chunk, context, fold, sdk_message
from wire.chat_stream import ChatStream
from wire.errors import BillingRequired, GatewayError, Overloaded, UpstreamFailed
from wire.names import ToolNames
from wire.signature import unpack_details
from wire.sse import encode_event

if TYPE_CHECKING:
    from wire.messages import Event, Json

LONG = "mcp__" + "x" * 80
MADE = "toolu_made"


def events(chunks: list[Json], *, done: bool = False, **changed: Any) -> list[Event]:
    stream = ChatStream(context(**changed))
    made = [event for one in chunks for event in stream.feed(one)]
    return made + stream.finish(done=done)


def answer(chunks: list[Json], **changed: Any) -> Json:
    """Give the Message, the same from the fold and from the SDK."""
    made = events(chunks, **changed)
    message = fold(made)
    read = sdk_message(b"".join(map(encode_event, made)))
    assert read["content"] == message["content"]
    assert (read["stop_reason"], read["stop_sequence"]) == (message["stop_reason"], message["stop_sequence"])
    return message


def plain(content: list[Json]) -> list[Json]:
    """Open what is sealed and name what is random, so that a block can be compared."""
    shown = []
    for given_block in content:
        block = dict(given_block)
        if block["type"] == "thinking":
            block["signature"] = unpack_details(block["signature"], MODEL)
        elif block["type"] == "redacted_thinking":
            block["data"] = unpack_details(block["data"], MODEL)
        elif "id" in block and re.fullmatch(r"toolu_01\w{22}", block["id"]):
            block["id"] = MADE
        shown.append(block)
    return shown


def text(content: str) -> Json:
    return {"type": "text", "text": content}


def tool(call_id: str, name: str, **given_input: Any) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given_input}


def thinking(shown: str, *details: Json) -> Json:
    sealed = list(details) or [{"type": "reasoning.text", "text": shown}]
    return {"type": "thinking", "thinking": shown, "signature": sealed}


def redacted(*details: Json) -> Json:
    return {"type": "redacted_thinking", "data": list(details)}


def detail(index: int | None = 0, kind: str = "text", **said: Any) -> Json:
    return {"type": f"reasoning.{kind}", **said, "format": "f", "index": index}


STOP = chunk({}, "stop")
NOTHING = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}
TOOLS = chunk({}, "tool_calls")
ENCRYPTED = detail(kind="encrypted", data="AAAA", id="rs_1")


@dataclass(frozen=True)
class Case:
    name: str
    chunks: list[Json]
    content: list[Json]
    stop: str = "end_turn"
    context: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case(
        "text",
        [chunk({"role": "assistant"}), chunk({"content": "a"}), chunk({"content": "b"}), STOP],
        [text("ab")],
    ),
    Case("nothing", [STOP], []),
    Case("nulls", [chunk({"content": None, "tool_calls": None, "reasoning": None}), STOP], []),
    Case("a last delta with text", [chunk({"content": "a"}, "stop")], [text("a")]),
    Case(
        "a message for a delta",
        [{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}],
        [text("a")],
    ),
    Case(
        "empty choices",
        [{"choices": []}, {"choices": None}, {}, chunk({"content": "a"}, "stop")],
        [text("a")],
    ),
    # tools
    Case(
        "arguments in pieces",
        [calls(call(0, "f", "", "c1")), calls(call(0, None, '{"a"')), calls(call(0, None, ":1}")), TOOLS],
        [tool("c1", "f", a=1)],
        "tool_use",
    ),
    Case(
        "whole in one chunk",
        [calls(call(0, "f", '{"a":1}', "c1")), TOOLS],
        [tool("c1", "f", a=1)],
        "tool_use",
    ),
    Case(
        "an object for arguments",
        [calls(call(0, "f", {"a": 1}, "c1")), TOOLS],
        [tool("c1", "f", a=1)],
        "tool_use",
    ),
    Case("no arguments", [calls(call(0, "f", None, "c1")), TOOLS], [tool("c1", "f")], "tool_use"),
    Case("blank arguments", [calls(call(0, "f", " ", "c1")), TOOLS], [tool("c1", "f")], "tool_use"),
    Case("finish says stop", [calls(call(0, "f", "{}", "c1")), STOP], [tool("c1", "f")], "tool_use"),
    Case("finish says tools, there is none", [chunk({"content": "a"}), TOOLS], [text("a")]),
    Case(
        "cut",
        [calls(call(0, "f", '{"a":1,"b', "c1")), chunk({}, "length")],
        [tool("c1", "f", a=1)],
        "max_tokens",
    ),
    Case("no id", [calls(call(0, "f", "{}")), TOOLS], [tool(MADE, "f")], "tool_use"),
    Case(
        "an id twice",
        [calls(call(0, "f", "{}", "c1"), call(1, "f", "{}", "c1")), TOOLS],
        [tool("c1", "f"), tool(MADE, "f")],
        "tool_use",
    ),
    Case(
        "an id that comes later",
        [calls(call(0, "f")), calls(call(0, None, None, "c1")), calls(call(0, None, "{}")), TOOLS],
        [tool("c1", "f")],
        "tool_use",
    ),
    Case(
        "a name in pieces",
        [
            calls(call(0, "get_", None, "c1")),
            calls(call(0, "weather")),
            calls(call(0, None, '{"a":1}')),
            TOOLS,
        ],
        [tool("c1", "get_weather", a=1)],
        "tool_use",
    ),
    Case(
        "a name after the arguments",
        [calls(call(0, None, "{", "c1")), calls(call(0, "f")), calls(call(0, None, "}")), TOOLS],
        [tool("c1", "f")],
        "tool_use",
    ),
    Case(
        "id and name repeated",
        [
            calls(call(0, "f", "{", "c1")),
            calls(call(0, "f", '"a":', "c1")),
            calls(call(0, "f", "1}", "c1")),
            TOOLS,
        ],
        [tool("c1", "f", a=1)],
        "tool_use",
    ),
    Case(
        "another id with each piece",
        [calls(call(0, "f", "{", "c1")), calls(call(0, None, "}", "c2")), TOOLS],
        [tool("c1", "f")],
        "tool_use",
    ),
    Case(
        "index 0 for each call",
        [calls(call(0, "f", "{}", "c1")), calls(call(0, "g", "{}", "c2")), TOOLS],
        [tool("c1", "f"), tool("c2", "g")],
        "tool_use",
    ),
    Case(
        "index 0 for each call, no ids",
        [calls(call(0, "f", "{}")), calls(call(0, "f", "{}")), TOOLS],
        [tool(MADE, "f"), tool(MADE, "f")],
        "tool_use",
    ),
    Case(
        "no index",
        [
            calls(call(None, "f", "{", "c1"), call(None, "g", "", "c2")),
            calls(call(None, None, "}", "c1"), call(None, None, '{"b":', "c2")),
            calls(call(None, None, "2}")),
            calls(call(None, "f", "{}", "c1")),
            TOOLS,
        ],
        [tool("c1", "f"), tool("c2", "g", b=2), tool(MADE, "f")],
        "tool_use",
    ),
    Case(
        "no index, no id",
        [calls(call(None, "f", "{}"), call(None, "g", "{")), calls(call(None, None, "}")), TOOLS],
        [tool(MADE, "f"), tool(MADE, "g")],
        "tool_use",
    ),
    Case(
        "interleaved",
        [
            calls(call(0, "f", None, "c1"), call(1, "g", None, "c2")),
            calls(call(1, None, '{"b":'), call(0, None, '{"a":')),
            calls(call(0, None, "1}"), call(1, None, "2}")),
            TOOLS,
        ],
        [tool("c1", "f", a=1), tool("c2", "g", b=2)],
        "tool_use",
    ),
    Case("an empty call is none", [calls(call(0), {}, "x"), chunk({"content": "a"}), STOP], [text("a")]),  # type: ignore[arg-type]
    Case(
        "an id alone is none", [calls(call(0, None, None, "c1")), chunk({"content": "a"}), STOP], [text("a")]
    ),
    Case(
        "a piece without a function",
        [calls({"index": 0, "id": "c1"}, call(0, "f")), TOOLS],
        [tool("c1", "f")],
        "tool_use",
    ),
    Case("calls that are no list", [chunk({"tool_calls": {"index": 0}}), STOP], []),
    Case(
        "function_call",
        [
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": "{}"}}),
            chunk({}, "function_call"),
        ],
        [tool(MADE, "f")],
        "tool_use",
    ),
    Case(
        "text after a call",
        [chunk({"content": "a"}), calls(call(0, "f", "{}", "c1")), chunk({"content": "b"}), TOOLS],
        [text("a"), tool("c1", "f"), text("b")],
        "tool_use",
    ),
    Case(
        "text amid a call waits",
        [
            calls(call(0, "f", "{", "c1")),
            chunk({"content": "b"}),
            calls(call(0, None, "}")),
            chunk({"content": "c"}),
            TOOLS,
        ],
        [tool("c1", "f"), text("bc")],
        "tool_use",
    ),
    Case(
        "blanks after a finished call",
        [calls(call(0, "f", "{}", "c1"), call(1, "g", "{}", "c2")), calls(call(0, None, "\n")), TOOLS],
        [tool("c1", "f"), tool("c2", "g")],
        "tool_use",
    ),
    Case(
        "a shortened name",
        [calls(call(0, ToolNames.of([LONG]).short(LONG), "{}", "c1")), TOOLS],
        [tool("c1", LONG)],
        "tool_use",
        {"tool_names": ToolNames.of([LONG])},
    ),
    # reasoning
    Case(
        "text and its signature",
        [
            chunk({"content": "", "reasoning": "a", "reasoning_details": [detail(text="a")]}),
            chunk({"reasoning": "b", "reasoning_details": [detail(text="b")]}),
            chunk({"reasoning": None, "reasoning_details": [detail(signature="S", text=None)]}),
            chunk({"content": "c"}, "stop"),
        ],
        [thinking("ab", {**detail(text="ab"), "signature": "S"}), text("c")],
    ),
    Case(
        "details alone",
        [chunk({"reasoning_details": [detail(text="a"), detail(text="b")]}), STOP],
        [thinking("ab", detail(text="ab"))],
    ),
    Case(
        "two signed parts",
        [
            chunk({"reasoning_details": [detail(text="a", signature="S"), detail(text="b", signature="T")]}),
            STOP,
        ],
        [thinking("ab", detail(text="a", signature="S"), detail(text="b", signature="T"))],
    ),
    Case(
        "parts by index and id",
        [
            chunk(
                {
                    "reasoning_details": [
                        detail(kind="summary", summary="a", id="1"),
                        detail(kind="summary", summary="b", id="2"),
                        detail(1, "summary", summary="c", id="2"),
                    ]
                }
            ),
            STOP,
        ],
        [
            thinking(
                "abc",
                detail(kind="summary", summary="a", id="1"),
                detail(kind="summary", summary="b", id="2"),
                detail(1, "summary", summary="c", id="2"),
            )
        ],
    ),
    Case("plain", [chunk({"reasoning": "a"}), chunk({"reasoning": "b"}), STOP], [thinking("ab")]),
    Case("reasoning_content", [chunk({"reasoning_content": "a"}), STOP], [thinking("a")]),
    Case(
        "details that repeat plain text",
        [chunk({"reasoning": "a"}), chunk({"reasoning_details": [detail(text="a", signature="S")]}), STOP],
        [thinking("a", detail(text="a", signature="S"))],
    ),
    Case(
        "encrypted",
        [chunk({"reasoning_details": [ENCRYPTED]}), chunk({"content": "a"}), STOP],
        [redacted(ENCRYPTED), text("a")],
    ),
    Case("encrypted alone", [chunk({"reasoning_details": [ENCRYPTED]}), STOP], [redacted(ENCRYPTED)]),
    Case(
        "encrypted before text",
        [chunk({"reasoning_details": [ENCRYPTED]}), chunk({"reasoning": "a"}), STOP],
        [thinking("a", ENCRYPTED)],
    ),
    Case(
        "encrypted amid text",
        [chunk({"content": "a"}), chunk({"reasoning_details": [ENCRYPTED]}), chunk({"content": "b"}), STOP],
        [text("ab"), redacted(ENCRYPTED)],
    ),
    Case(
        "encrypted is never joined",
        [chunk({"reasoning_details": [ENCRYPTED, ENCRYPTED]}), STOP],
        [redacted(ENCRYPTED, ENCRYPTED)],
    ),
    Case(
        "details that say nothing",
        [chunk({"reasoning_details": [detail(text=""), 7]}), chunk({"content": "a"}), STOP],
        [text("a")],
    ),
    Case("details that are no list", [chunk({"reasoning_details": "x", "content": "a"}), STOP], [text("a")]),
    Case(
        "reasoning again",
        [chunk({"reasoning": "a"}), chunk({"content": "b"}), chunk({"reasoning": "c"}), STOP],
        [thinking("a"), text("b"), thinking("c")],
    ),
    # other content
    Case("a refusal", [chunk({"refusal": "No"}), chunk({"refusal": "."}), STOP], [text("No.")], "refusal"),
    Case(
        "parts",
        [
            chunk(
                {
                    "content": [
                        "a",
                        {"type": "text", "text": "b"},
                        {"type": "thinking", "thinking": [{"type": "text", "text": "t"}, 7]},
                        7,
                    ]
                }
            ),
            STOP,
        ],
        [thinking("t", {"type": "reasoning.text", "text": "t"}), text("ab")],
    ),
    Case(
        "parts beside details",
        [
            chunk(
                {
                    "content": [
                        {"type": "thinking", "thinking": "t"},
                        {"type": "reasoning", "summary": None},
                    ],
                    "reasoning_details": 7,
                }
            ),
            STOP,
        ],
        [thinking("t", {"type": "reasoning.text", "text": "t"})],
    ),
    Case(
        "a part with no place",
        [
            chunk({"content": [{"type": "audio"}, {"type": "image_url", "image_url": "https://a/b.png"}]}),
            STOP,
        ],
        [text("[the model answered with 'audio': not shown]![image](https://a/b.png)")],
    ),
    Case(
        "images",
        [
            chunk({"images": [{"image_url": {"url": "data:image/png;base64,AAAA"}}, 7]}),
            chunk({"images": 7}),
            STOP,
        ],
        [text("[the model answered with an image (image/png): not shown]")],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gives(case: Case) -> None:
    message = answer(case.chunks, **case.context)
    assert plain(message["content"]) == case.content
    assert message["stop_reason"] == case.stop


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_has_one_open_block_at_a_time(case: Case) -> None:
    opened: list[int] = []
    ended = 0
    for event in events(case.chunks, **case.context):
        match event["type"]:
            case "content_block_start":
                assert len(opened) == ended == event["index"]
                opened.append(event["index"])
            case "content_block_delta":
                assert opened[-1] == ended == event["index"]
            case "content_block_stop":
                assert ended == event["index"]
                ended += 1
    assert len(opened) == ended


@pytest.mark.parametrize(
    ("choice", "sequences", "stop", "sequence"),
    [
        ({"finish_reason": "stop"}, ("X",), "end_turn", None),
        ({"finish_reason": "eos"}, (), "end_turn", None),
        ({"finish_reason": "length"}, (), "max_tokens", None),
        ({"finish_reason": "model_length"}, (), "model_context_window_exceeded", None),
        ({"finish_reason": "content_filter"}, (), "refusal", None),
        ({"finish_reason": "length", "native_finish_reason": "refusal"}, (), "refusal", None),
        ({"finish_reason": "stop", "native_finish_reason": "stop_sequence"}, ("X",), "stop_sequence", "X"),
        (
            {"finish_reason": "stop", "native_finish_reason": "stop_sequence"},
            ("X", "Y"),
            "stop_sequence",
            None,
        ),
        ({"finish_reason": "stop", "stop_reason": "Y"}, ("X", "Y"), "stop_sequence", "Y"),
        ({"finish_reason": "stop", "stop_reason": "Z"}, ("X", "Y"), "end_turn", None),
        ({"finish_reason": "stop", "stop_reason": 13}, ("X",), "end_turn", None),
    ],
)
def test_stop_reasons(choice: Json, sequences: tuple[str, ...], stop: str, sequence: str | None) -> None:
    chunks = [chunk({"content": "a"}), {"choices": [{"delta": {}, **choice}]}]
    message = answer(chunks, stop_sequences=sequences)
    assert (message["stop_reason"], message["stop_sequence"]) == (stop, sequence)


def test_a_bare_role_starts_nothing() -> None:
    stream = ChatStream(context())
    assert stream.feed(chunk({"role": "assistant", "content": ""})) == []
    assert not stream.started
    assert [event["type"] for event in stream.feed(chunk({"content": "a"}))] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
    ]
    assert stream.started


def test_content_in_no_known_form_says_nothing() -> None:
    stream = ChatStream(context())
    assert stream.feed(chunk({"content": {"form": "unknown"}})) == []
    assert not stream.started


def test_deltas_go_out_as_they_come() -> None:
    stream = ChatStream(context())
    stream.feed(calls(call(0, "f", '{"a":', "c1")))
    assert [event["delta"]["partial_json"] for event in stream.feed(calls(call(0, None, "1")))] == ["1"]
    assert stream.feed(calls(call(1, "g", "{}", "c2"))) == []
    assert [event["type"] for event in stream.feed(calls(call(0, None, "}")))] == [
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]


def test_broken_arguments_pass_as_they_are_and_are_an_error_at_their_end() -> None:
    stream = ChatStream(context())
    made = stream.feed(calls(call(0, "f", '{"a": }', "c1"), call(1, "g", "{}", "c2")))
    assert [event["delta"]["partial_json"] for event in made if event["type"] == "content_block_delta"] == [
        '{"a": }'
    ]
    with pytest.raises(UpstreamFailed, match="'f' with arguments that are no JSON"):
        stream.feed(TOOLS), stream.finish()


def test_the_signature_comes_once_and_last() -> None:
    made = events([chunk({"reasoning": "a"}), chunk({"reasoning": "b"}), STOP])
    kinds = [event["delta"]["type"] for event in made if event["type"] == "content_block_delta"]
    assert kinds == ["thinking_delta", "thinking_delta", "signature_delta"]


@pytest.mark.parametrize(
    ("usage", "told", "cost"),
    [
        (None, None, None),
        (7, None, None),
        (
            {"prompt_tokens": 10, "completion_tokens": 3},
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 3,
            },
            None,
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 30,
                "cost": 0.5,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 20},
                "server_tool_use": {"web_search_requests": 2},
            },
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 60,
                "output_tokens": 30,
                "output_tokens_details": {"thinking_tokens": 20},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
            },
            0.5,
        ),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}, "completion_tokens": None},
            {
                "input_tokens": 0,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 9,
                "output_tokens": 0,
            },
            None,
        ),
    ],
)
def test_usage(usage: Any, told: Json | None, cost: float | None) -> None:
    stream = ChatStream(context())
    stream.feed(chunk({"content": "a"}, "stop"))
    stream.feed({"choices": [], "usage": usage})
    delta = stream.finish()[-2]
    assert stream.usage == told
    assert stream.cost == cost
    assert delta["usage"] == (told or NOTHING)


def test_start_tells_the_estimate_and_the_names() -> None:
    stream = ChatStream(context())
    message = stream.feed(chunk({"content": "a"}))[0]["message"]
    assert (message["id"], message["model"], message["usage"]["input_tokens"]) == (
        "msg_01test",
        "claude-test",
        77,
    )
    assert stream.generation_id == "gen-1"


def note(url: str, title: Any = "T", **more: Any) -> Json:
    return {"type": "url_citation", "url_citation": {"url": url, "title": title, **more}}


def cited(url: str, title: str | None = "T", quoted: str = "") -> Json:
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title,
        "cited_text": quoted,
        "encrypted_index": "",
    }


def test_citations_end_the_text_they_belong_to() -> None:
    notes = [
        note("u1", content="c" * 200),
        note("u1", content="c"),
        note("u2", None),
        {"type": "file"},
        note(""),
        7,
    ]
    chunks = [
        chunk({"annotations": notes[:1]}),
        chunk({"content": "a", "annotations": notes}),
        chunk({"content": "b", "annotations": 7}),
        STOP,
    ]
    assert answer(chunks)["content"] == [
        {**text("ab"), "citations": [cited("u1", quoted="c" * 150), cited("u2", None)]}
    ]


def test_citations_that_come_too_late_are_listed() -> None:
    chunks = [
        chunk({"content": "a"}),
        calls(call(0, "f", "{}", "c1")),
        chunk({"annotations": [note("u1"), note("u2", None)]}),
        TOOLS,
    ]
    assert answer(chunks)["content"][2] == {
        **text("Sources:\n- [T](u1)\n- [u2](u2)"),
        "citations": [cited("u1"), cited("u2", None)],
    }


def test_a_search_is_told_with_its_links() -> None:
    chunks = [
        chunk({"content": "a", "annotations": [note("u1"), note("u2", None), note("u1", start_index=3)]}),
        STOP,
    ]
    _, search, found = answer(chunks, web_search=True)["content"]
    assert (search["type"], search["name"], search["input"]) == ("server_tool_use", "web_search", {})
    assert found["tool_use_id"] == search["id"]
    assert [(page["url"], page["title"]) for page in found["content"]] == [("u1", "T"), ("u2", "u2")]
    assert len(answer([chunk({"content": "a"}, "stop")], web_search=True)["content"]) == 1


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        ({"error": {"code": 402, "message": "no credit"}}, BillingRequired, "no credit"),
        ({"error": "it broke"}, UpstreamFailed, "it broke"),
        ({"choices": [{"delta": {}, "error": {"code": 503, "message": "full"}}]}, Overloaded, "full"),
        (chunk({}, "error"), UpstreamFailed, "the upstream ended the answer with an error"),
        (calls(call(0, None, "{}")), UpstreamFailed, "the upstream sent a tool call without a name"),
        (
            calls(call(0, "f", "{}", "c1"), call(1, "g"), call(0, None, "{}")),
            UpstreamFailed,
            "the upstream went on with a finished call of the tool 'f'",
        ),
    ],
)
def test_errors_inside_a_stream(bad: Json, kind: type[GatewayError], message: str) -> None:
    with pytest.raises(kind) as raised:
        events([chunk({"content": "a"}), bad, STOP])
    assert raised.value.message == message


@pytest.mark.parametrize("chunks", [[], [chunk({"role": "assistant"})], [chunk({"content": "a"})]])
def test_a_stream_without_its_end_is_an_error(chunks: list[Json]) -> None:
    with pytest.raises(UpstreamFailed, match="ended the stream before its answer") as raised:
        events(chunks)
    assert raised.value.retryable is ("content" not in json.dumps(chunks))


def test_done_is_an_end() -> None:
    assert fold(events([chunk({"content": "a"})], done=True))["stop_reason"] == "end_turn"
    with pytest.raises(UpstreamFailed, match="before its answer began"):
        events([chunk({"role": "assistant"})], done=True)


def test_reasoning_too_large_to_carry_goes_without_its_seal() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    opaque = {"type": "reasoning.encrypted", "data": deep}
    assert answer([chunk({"reasoning_details": [opaque]}), STOP])["content"] == []
    shown = answer([chunk({"reasoning": "a", "reasoning_details": [opaque]}), STOP])["content"]
    assert shown == [{"type": "thinking", "thinking": "a", "signature": ""}]


def test_arguments_too_deep_to_write_are_an_error() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(UpstreamFailed, match="nested too deep"):
        events([calls(call(0, "f", deep))])


WORDS = st.sampled_from(
    [
        "content",
        "reasoning",
        "reasoning_details",
        "tool_calls",
        "type",
        "text",
        "index",
        "id",
        "function",
        "name",
        "arguments",
        "annotations",
        "url_citation",
        "url",
        "images",
        "image_url",
        "refusal",
        "function_call",
        "summary",
    ]
)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats()
    | st.sampled_from(["", "a", "{}", "reasoning.text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)


@given(st.lists(st.dictionaries(WORDS, ANY, max_size=5), max_size=5), ANY, ANY)
def test_whatever_comes_is_an_answer_or_an_error(deltas: list[Json], usage: Any, finish: Any) -> None:
    chunks = [chunk(delta, finish, usage=usage) for delta in deltas]
    try:
        fold(events(chunks, done=True, web_search=True))
    except GatewayError as error:
        assert error.status >= 400  # noqa: PT017  (any error of ours will do)
