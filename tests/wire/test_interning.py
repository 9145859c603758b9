"""Sharing what conversations repeat changes nothing but the work: every result is that of the plain way."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wire.body
from tests.wire.requests import EPHEMERAL, assistant, call, request, result, system, text, tool, user
from tests.wire.test_request_properties import LOOSE_BODY, conversations
from wire.body import parse_body
from wire.chat_request import to_chat
from wire.check import check_request
from wire.dialects import DATABRICKS, OPENAI, OPENROUTER, Dialect
from wire.errors import GatewayError
from wire.interning import EACH, MOST_BODIES, Interner, SharedMessage, SharedTools, parse_interned
from wire.openai_request import from_openai

MODEL = "openai/gpt-5"


def shared(body: Any, interner: Interner) -> dict[str, Any]:
    return parse_interned(orjson.dumps(body), interner)


def checked(body: dict[str, Any]) -> dict[str, Any]:
    check_request(body)
    return body


def outcome(body: dict[str, Any], model: str = MODEL, dialect: Dialect = OPENROUTER) -> Any:
    """Check and convert; give the chat body, or the refusal's text."""
    try:
        check_request(body)
        return copy.deepcopy(to_chat(body, model=model, dialect=dialect)[0])
    except GatewayError as error:
        return type(error), error.message


def assert_same(body: dict[str, Any], interner: Interner, model: str = MODEL) -> None:
    ours = shared(body, interner)
    before = copy.deepcopy(ours)
    for dialect in (OPENROUTER, DATABRICKS, OPENAI, OPENROUTER):
        assert outcome(ours, model, dialect) == outcome(orjson.loads(orjson.dumps(body)), model, dialect)
    assert ours == before


@pytest.mark.no_cover  # tracing takes twice its time, and others run the same lines
@given(LOOSE_BODY)
def test_any_body_is_parsed_alike_at_first_and_again(body: dict[str, Any]) -> None:
    interner = Interner()
    for _ in range(2):
        assert shared(body, interner) == orjson.loads(orjson.dumps(body))
        assert_same(body, interner)


@given(st.binary(max_size=40), st.integers(0, 400), st.integers(0, 40))
def test_broken_bytes_are_refused_alike(junk: bytes, at: int, cut: int) -> None:
    raw = orjson.dumps(
        request(user("hello"), assistant("a", call("1")), user(result("1", "ü")), tools=[tool()])
    )
    broken = raw[:at] + junk + raw[at + cut :]

    def parsed(smallest: int) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire.body, "SMALLEST_BODY", smallest)
            try:
                return parse_body(broken)
            except GatewayError as error:
                return error.message

    assert parsed(0) == parsed(10**9)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"messages": 5, "tools": {"a": 1}}',
        b'{"messages": [1, "x", null, []], "tools": null}',
        b'{"messages": [], "messages": [{"role": "user"}], "tools": "x"}',
        b' { "messages" : [ { "role" : "user" , "content" : "a" } ] , "tools" : [ ] } ',
    ],
)
def test_odd_bodies_are_parsed_as_they_are(raw: bytes) -> None:
    interner = Interner()
    for _ in range(2):
        assert parse_interned(raw, interner) == orjson.loads(raw)


@pytest.mark.no_cover  # tracing takes twice its time, and others run the same lines
@given(st.lists(conversations(), min_size=1, max_size=2), st.lists(st.booleans(), min_size=4, max_size=4))
def test_conversations_that_grow_and_mix_become_the_same_chats(
    drawn: list[list[dict[str, Any]]], switches: list[bool]
) -> None:
    interner = Interner()
    for place, messages in enumerate(drawn):
        for end in range(1, len(messages) + 1):
            model = MODEL if switches[(place + end) % 4] else "google/gemini-2.5-pro"
            assert_same(request(*messages[:end], tools=[tool(), tool("Write")]), interner, model)
        assert_same(request(*messages, *(drawn[-1] if switches[0] else [])), interner)


def long_conversation(turns: int) -> list[dict[str, Any]]:
    messages = [user("begin")]
    for n in range(turns):
        messages += [assistant(f"step {n}", call(f"id{n}", path=f"{n}")), user(result(f"id{n}", f"line {n}"))]
    return messages


def test_what_a_conversation_repeats_is_neither_parsed_checked_nor_converted_again() -> None:
    interner = Interner()
    first = shared(request(*long_conversation(5), tools=[tool()]), interner)
    check_request(first)
    chat, _ = to_chat(first, model=MODEL)
    second = shared(request(*long_conversation(6), tools=[tool()]), interner)
    assert all(a is b for a, b in zip(first["messages"], second["messages"], strict=False))
    assert second["tools"] is first["tools"]
    assert second["messages"][1].facts is not None
    assert second["messages"][-1].facts is None
    check_request(second)
    longer, _ = to_chat(second, model=MODEL)
    assert longer["messages"][: len(chat["messages"])] == chat["messages"]
    assert all(a is b for a, b in zip(chat["messages"][1:], longer["messages"][1:], strict=False))
    assert longer["tools"] is chat["tools"]


MARKED = [assistant("x"), user(text("b", cache_control=EPHEMERAL))]
FIRST = [user("begin"), assistant(call("1")), user(result("1"))]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # the same turn behind a call that has used its id
        (FIRST, [user("begin"), assistant(call("1", n=1)), user(result("1")), *FIRST[1:]]),
        # a name beside it that has to be shortened, and may take any other's place
        (FIRST, [*FIRST, assistant(call("2", "x" * 70)), user(result("2"))]),
        # a turn that is followed by something else
        (FIRST, [*FIRST, user("and more")]),
        (FIRST, [*FIRST, system("now be brief")]),
        # a system message that the next user message takes away
        (
            [*FIRST, {**system("only now"), "clear_at": "next_user_message"}],
            [*FIRST, {**system("only now"), "clear_at": "next_user_message"}, assistant("a"), user("b")],
        ),
        # a breakpoint that moves on
        (
            [*FIRST[:-1], user(result("1", cache_control=EPHEMERAL))],
            [*FIRST, assistant("a"), user(text("b", cache_control=EPHEMERAL))],
        ),
        # breakpoints beyond four go, but not for the next request
        (
            [user("a"), *MARKED * 3],
            [user("a"), *MARKED * 6],
        ),
        # empty ids, which get new ones by their place
        (
            [user("a"), assistant(call("")), user(result("")), assistant("b"), user("c")],
            [user("a"), assistant(call("x")), user(result("x")), assistant(call("")), user(result(""))],
        ),
        ([assistant("I begin"), user("go on")], [assistant("I begin"), user("go on"), assistant("yes")]),
    ],
)  # fmt: skip
def test_a_turn_in_another_place_becomes_what_it_is_there(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    interner = Interner()
    for messages in (before, after, before, after):
        for fields in (
            {},
            {"system": "be good"},
            {"tools": [tool("Read"), tool("Later", defer_loading=True)]},
        ):
            assert_same(request(*messages, **fields), interner)


def test_deferred_tools_go_only_where_they_are_loaded() -> None:
    interner = Interner()
    tools = [tool("Read"), tool("Later", defer_loading=True)]
    loaded = [*FIRST, assistant(call("2", "Later")), user(result("2"))]
    for messages in (loaded, FIRST, loaded):
        assert_same(request(*messages, tools=tools), interner)


def test_marked_tools_keep_their_breakpoints() -> None:
    interner = Interner()
    tools = [tool(f"t{n}", cache_control=EPHEMERAL) for n in range(6)]
    for _ in range(2):
        assert_same(request(user("a"), tools=tools), interner)


def test_invalid_tools_are_refused_each_time() -> None:
    interner = Interner()
    for _ in range(2):
        assert_same(request(user("a"), tools=[tool("a"), tool("a")]), interner)


def test_an_openai_clients_large_body_is_read_as_a_small_one_is() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "x" * 9000}]},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]
    body = {"model": "m", "messages": messages, "tools": tools}
    for _ in range(2):
        assert from_openai(parse_body(orjson.dumps(body))) == from_openai(body)


def test_turns_that_python_takes_for_equal_are_not_mixed_up() -> None:
    interner = Interner()
    for value in (1, True, 1.0):
        messages = [*FIRST, assistant("now"), assistant(call("2", n=value)), user(result("2"))]
        chat, _ = to_chat(checked(shared(request(*messages), interner)), model=MODEL)
        said = next(one for one in chat["messages"] if one.get("tool_calls", [{}])[0].get("id") == "2")
        assert said["tool_calls"][0]["function"]["arguments"] == orjson.dumps({"n": value}).decode()


def test_small_messages_are_not_kept_without_end() -> None:
    interner = Interner(most=100_000)
    for n in range(1000):
        interner.message(b'{"role":"user","content":"%d"}' % n)
    assert len(interner) < 100


def test_only_what_was_used_last_is_kept() -> None:
    raw = [orjson.dumps(user(f"{n}" * 100)) for n in range(4)]
    interner = Interner(most=3 * (len(raw[0]) + EACH))
    first, second = interner.message(raw[0]), interner.message(raw[1])
    interner.message(raw[2])
    assert interner.message(raw[0]) is first
    interner.message(raw[3])
    assert len(interner) == 3
    assert interner.message(raw[0]) is first
    assert interner.message(raw[1]) is not second


def test_what_is_very_large_is_not_kept() -> None:
    interner = Interner()
    raw = orjson.dumps(user("x" * (2 * 1024 * 1024)))
    assert interner.message(raw) == interner.message(raw)
    assert interner.message(raw) is not interner.message(raw)
    assert len(interner) == 0


def test_small_bodies_are_not_looked_up_and_large_ones_are() -> None:
    small, large = request(user("a")), request(user("a" * 9000), tools=[tool()])
    assert type(parse_body(orjson.dumps(small))["messages"][0]) is dict
    body = parse_body(orjson.dumps(large))
    assert type(body["messages"][0]) is SharedMessage
    assert type(body["tools"]) is SharedTools


def test_a_body_that_comes_again_is_equal_and_its_fields_are_ones_own() -> None:
    interner = Interner()
    raw = orjson.dumps(request(user("hello"), assistant("x" * 9000)))
    first = parse_interned(raw, interner)
    first["stream"] = True
    first["messages"].append(user("more"))
    again = parse_interned(raw, interner)
    again["messages"].clear()
    assert parse_interned(raw, interner) == orjson.loads(raw)
    assert again["messages"] == []


def test_bodies_of_one_length_and_end_are_not_mixed_up() -> None:
    interner = Interner()
    for word in ("one", "two", "one"):
        raw = orjson.dumps(request(user(word), user("y" * 9000)))
        assert parse_interned(raw, interner)["messages"][0] == user(word)


def test_whole_bodies_are_not_kept_without_end() -> None:
    interner = Interner()
    raw = orjson.dumps(request(user("z" * 500_000)))
    for count in range(12):
        parse_interned(raw[:-1] + b" " * count + b"}", interner)
    assert sum(length for length, _ in interner._bodies) == interner._bodies_size <= MOST_BODIES
    large = orjson.dumps(request(user("z" * 1_100_000)))
    parse_interned(large, interner)
    assert all(length < 1_000_000 for length, _ in interner._bodies)
