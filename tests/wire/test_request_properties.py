"""What holds for every request: nothing crashes, nothing is changed, and chats keep their order."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.requests import (
    EPHEMERAL,
    PDF,
    PNG,
    assistant,
    call,
    document,
    image,
    request,
    result,
    system,
    tool,
    user,
)
from wire.chat_request import to_chat
from wire.check import check_request, encode_body, parse_body
from wire.errors import GatewayError
from wire.known import BLOCKS, RESULT_BLOCKS
from wire.signature import pack_details

MODEL = "openai/gpt-5"

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)

WORDS = st.sampled_from(
    ["", "a", "b", "Read", "x" * 70, "base64", "url", "text", "content", "image/png", PNG]
)
KINDS = st.sampled_from(sorted(BLOCKS | RESULT_BLOCKS))
FIELDS = st.sampled_from(
    [
        "text",
        "source",
        "content",
        "id",
        "name",
        "input",
        "tool_use_id",
        "is_error",
        "thinking",
        "signature",
        "data",
        "title",
        "context",
        "tool",
        "tool_name",
        "cache_control",
        "citations",
        "media_type",
        "url",
    ]
)


def loose_blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw objects that look like blocks, with fields of any kind."""
    return st.builds(
        lambda kind, fields: fields | {"type": kind},
        KINDS | WORDS,
        st.dictionaries(FIELDS, inner | st.lists(inner, max_size=2), max_size=5),
    )


LOOSE = st.recursive(
    JSON | WORDS, lambda inner: loose_blocks(inner) | st.lists(inner, max_size=3), max_leaves=12
)

LOOSE_MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "tool"]),
        "content": st.lists(loose_blocks(LOOSE), max_size=4) | LOOSE,
    },
    optional={"output_config": LOOSE, "clear_at": st.sampled_from(["next_user_message", "never", 5])},
)

LOOSE_BODY = st.fixed_dictionaries(
    {"model": WORDS, "max_tokens": st.integers(0, 9), "messages": st.lists(LOOSE_MESSAGE, max_size=4)},
    optional=dict.fromkeys(
        (
            "system",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
            "metadata",
            "service_tier",
            "stream",
            "stop_sequences",
            "temperature",
            "cache_control",
            "plugins",
            "billing_policy",
            "response_format",
        ),
        LOOSE,
    ),
)


def refusal(body: dict[str, Any]) -> GatewayError | None:
    """Check and convert `body`, and give the refusal if there was one."""
    try:
        check_request(body)
        chat, _ = to_chat(body, model=MODEL)
        encode_body(chat)
    except GatewayError as error:
        return error
    return None


def assert_safe(body: dict[str, Any]) -> None:
    """Assert that `body` is converted or refused with a path, and in no case changed."""
    body = parse_body(orjson.dumps(body))
    before = copy.deepcopy(body)
    error = refusal(body)
    assert error is None or (error.status == 400 and ": " in error.message)
    assert body == before


@settings(max_examples=150)
@given(LOOSE_BODY)
def test_nothing_crashes_with_anything_but_a_gateway_error(body: dict[str, Any]) -> None:
    assert_safe(body)


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=6))
def test_arbitrary_objects_are_refused_or_pass(body: dict[str, Any]) -> None:
    assert_safe(body)


# Conversations that a client could really have.

TEXT = st.builds(lambda said: {"type": "text", "text": said}, st.text(max_size=6))
IMAGE = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
REFERENCE = st.just({"type": "tool_reference", "tool_name": "Read"})
THINKING = st.sampled_from(
    [
        {
            "type": "thinking",
            "thinking": "Hm.",
            "signature": pack_details([{"type": "reasoning.text", "text": "Hm."}], MODEL),
        },
        {"type": "thinking", "thinking": "Hm.", "signature": "foreign"},
        {"type": "redacted_thinking", "data": "foreign"},
    ]
)
IDS = st.sampled_from(["", "a", "b", "call_0", "call_1", "call_2"])
NAMES = st.sampled_from(["Read", "Write", "x" * 70])


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw messages in which results answer the assistant turn before them, in any order, some missing."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(st.text(max_size=6))}]
    ids: list[str] = []
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from(["assistant", "user", "user", "system"]))
        if kind == "system":
            messages.append({"role": "system", "content": draw(st.text(max_size=6))})
        elif kind == "assistant":
            if messages[-1]["role"] != "assistant":
                ids = []
            calls = [
                {
                    "type": "tool_use",
                    "id": identity,
                    "name": draw(NAMES),
                    "input": {"n": draw(st.integers(0, 9))},
                }
                for identity in draw(st.lists(IDS, max_size=3))
            ]
            ids += [one["id"] for one in calls]
            said = draw(st.lists(TEXT | THINKING, max_size=3))
            messages.append({"role": "assistant", "content": said + calls})
        else:
            answered = draw(st.lists(st.sampled_from(ids), max_size=len(ids) + 1)) if ids else []
            results = [
                {
                    "type": "tool_result",
                    "tool_use_id": identity,
                    "content": draw(st.lists(TEXT | IMAGE | REFERENCE, max_size=2)),
                }
                for identity in answered
            ]
            content = draw(st.permutations(results + draw(st.lists(TEXT | IMAGE, max_size=2))))
            messages.append({"role": "user", "content": list(content)})
    return messages


def chat_messages(messages: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    body = request(*messages, tools=[tool("Read"), tool("Write"), tool("x" * 70)], **fields)
    check_request(body)
    before = copy.deepcopy(body)
    chat, _ = to_chat(body, model=MODEL)
    assert body == before
    chat_messages: list[dict[str, Any]] = chat["messages"]
    return chat_messages


@settings(max_examples=300)
@given(conversations())
def test_every_tool_message_follows_its_call_directly_and_in_order(messages: list[dict[str, Any]]) -> None:
    chat = chat_messages(messages)
    seen: set[str] = set()
    expected: list[str] = []
    for message in chat:
        if message["role"] == "tool":
            assert expected
            assert message["tool_call_id"] == expected.pop(0)
        else:
            assert not expected
            expected = [one["id"] for one in message.get("tool_calls", ())]
            assert not seen.intersection(expected)
            assert all(expected)
            seen.update(expected)
        assert message["content"] or message.get("tool_calls") or message.get("reasoning_details")
    assert not expected


@settings(max_examples=300)
@given(conversations())
def test_nothing_said_is_lost(messages: list[dict[str, Any]]) -> None:
    chat = chat_messages(messages)
    images = sum(orjson.dumps(message).count(b'"image_url":{') for message in chat)
    assert images == orjson.dumps(messages).count(b'"type":"image"')
    calls = sum(len(message.get("tool_calls", ())) for message in chat)
    assert calls == orjson.dumps(messages).count(b'"type":"tool_use"')
    assert calls == sum(message["role"] == "tool" for message in chat)


RICH: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be brief.", "cache_control": EPHEMERAL}],
    "tools": [
        tool("Read", {"type": "object", "properties": {"n": {"type": "number"}}}, cache_control=EPHEMERAL),
        tool("Write", description="Writes.", strict=True, defer_loading=True, input_examples=[{"n": 1}]),
        tool("x" * 70),
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "allowed_domains": ["a.com"]},
    ],
    "tool_choice": {"type": "tool", "name": "Read", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "metadata": {"user_id": "u" * 70},
    "stop_sequences": ["a"],
    "service_tier": "auto",
    "stream": True,
    "temperature": 1,
    "cache_control": EPHEMERAL,
}
SOURCES: list[dict[str, Any]] = [
    {"type": "base64", "media_type": "application/pdf", "data": PDF},
    {"type": "text", "media_type": "text/plain", "data": "x"},
    {"type": "url", "url": "https://example.com/a.pdf"},
    {"type": "content", "content": [{"type": "text", "text": "x"}]},
]
EVERYTHING: list[dict[str, Any]] = [
    user("a", image(), *[document(source, title="T", context="C") for source in SOURCES]),
    assistant(
        {"type": "thinking", "thinking": "Hm.", "signature": "foreign"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [{"title": "T", "url": "http://t"}],
        },
        {
            "type": "tool_search_tool_result",
            "content": {"tool_references": [{"tool_name": "T"}]},
            "tool_use_id": "s",
        },
        {"type": "compaction", "content": "So far."},
        call("1", n=1),
        call("2", "Write"),
    ),
    system("n", output_config={"effort": "low"}, clear_at="never"),
    user(
        result("2", {"type": "tool_reference", "tool_name": "Write"}, image(), is_error=True),
        result(
            "1",
            {
                "type": "search_result",
                "source": "s",
                "title": "t",
                "content": [{"type": "text", "text": "x"}],
            },
        ),
    ),
    system({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "Write"}}),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Give every container in `value` with each of its keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inner for place in [(value, key), *places(one)]]


def test_the_rich_request_is_good() -> None:
    assert refusal(request(*EVERYTHING, **RICH)) is None


@settings(max_examples=300)
@given(st.data())
def test_a_good_request_with_one_thing_wrong_is_refused_or_passes(data: st.DataObject) -> None:
    body = copy.deepcopy(request(*EVERYTHING, **RICH))
    container, key = data.draw(st.sampled_from(places(body)))
    if data.draw(st.booleans()):
        container[key] = data.draw(LOOSE)
    else:
        del container[key]
    assert_safe(body)


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """Give a chat message without its cache breakpoints, and one text as a string: the same tokens."""
    content = message["content"]
    if isinstance(content, list):
        content = [{key: value for key, value in part.items() if key != "cache_control"} for part in content]
        if len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
    return message | {"content": content}


@settings(max_examples=300)
@given(conversations(), st.text(min_size=1, max_size=6), st.booleans())
def test_the_next_turn_begins_with_this_one(messages: list[dict[str, Any]], said: str, moving: bool) -> None:
    """A backend's prefix cache serves a conversation only while its beginning stays the same."""
    now = [*messages, {"role": "user", "content": [{"type": "text", "text": "go on"}]}]
    later = copy.deepcopy(now)
    if moving:  # Claude Code moves its breakpoint to the last block of each request
        now[-1]["content"][-1]["cache_control"] = EPHEMERAL
    later += [{"role": "assistant", "content": said}, {"role": "user", "content": "and then?"}]
    first = chat_messages(now, system="Be brief.")
    second = chat_messages(later, system="Be brief.")
    assert [plain(one) for one in second[: len(first)]] == [plain(one) for one in first]
