"""The key is equal when, and only when, nothing that bears on the answer differs."""

from __future__ import annotations

import copy
import json
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.wire.requests import EPHEMERAL, assistant, call, request, result, system, text, tool, user
from tests.wire.test_request_properties import LOOSE_BODY, conversations
from wire.cache_key import NO_BEARING, cache_key
from wire.chat_request import to_chat
from wire.dialects import DATABRICKS_CLAUDE, OPENAI, OPENROUTER
from wire.errors import InvalidRequest
from wire.gemini_request import to_gemini
from wire.interning import Interner, parse_interned

BILLED = "x-anthropic-billing-header: cc_version=2.1; cch=12345"


def key(body: Any, **changed: Any) -> bytes:
    told: dict[str, Any] = {"tenant": "t", "backend": "b", "model": "m", "headers": {}} | changed
    return cache_key(body, **told)


def unmarked(block: Any) -> Any:
    """The reference, written without thought of speed: a block without breakpoints."""
    if not isinstance(block, dict):
        return block
    block = {name: value for name, value in block.items() if name != "cache_control"}
    if isinstance(block.get("content"), list):
        block["content"] = [unmarked(one) for one in block["content"]]
    if "role" in block or block.get("type") == "tool_result":
        block["content"] = shortest(block.get("content"))
    source = block.get("source")
    if isinstance(source, dict) and isinstance(source.get("content"), list):
        block["source"] = {**source, "content": [unmarked(one) for one in source["content"]]}
    return block


def shortest(content: Any) -> Any:
    """The reference reads blocks as strings; what is tested reads strings as blocks."""
    if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}:
        return content[0]["text"] or content
    return content


def reference(body: dict[str, Any]) -> str:
    told = {name: value for name, value in body.items() if name not in NO_BEARING}
    told["messages"] = [unmarked(message) for message in told.get("messages") or ()]
    told["tools"] = [
        {name: value for name, value in one.items() if name != "cache_control"}
        for one in told.get("tools") or ()
    ]
    if isinstance(told.get("system"), list):
        told["system"] = [
            {name: value for name, value in block.items() if name != "cache_control"}
            for block in told["system"]
        ]
    told["system"] = shortest(told.get("system"))
    return json.dumps(told, sort_keys=True)


@st.composite
def changes(draw: st.DrawFn) -> Any:
    """Draw something done to a request: what has no bearing, and what has."""
    kind = draw(
        st.sampled_from(
            ["volatile", "mark", "spell", "reverse", "field", "message", "tool", "system", "text", "nothing"]
        )
    )
    name = draw(st.sampled_from(sorted(NO_BEARING)))
    word = draw(st.sampled_from(["x", "y"]))

    def change(body: dict[str, Any]) -> dict[str, Any]:
        body = copy.deepcopy(body)
        match kind:
            case "volatile":
                body[name] = word
            case "mark":
                for message in body["messages"]:
                    for block in message["content"] if isinstance(message["content"], list) else ():
                        block["cache_control"] = EPHEMERAL
                for one in body.get("tools") or ():
                    one["cache_control"] = EPHEMERAL
            case "spell":
                for message in body["messages"]:
                    if message["content"] and isinstance(message["content"], str):
                        message["content"] = [text(message["content"])]
            case "text":
                body["system"] = word
            case "reverse":
                body = dict(reversed(body.items()))
            case "field":
                body["temperature"] = 0.5 if word == "x" else 1
            case "message":
                body["messages"].append({"role": "user", "content": word})
            case "tool":
                body["tools"] = [*(body.get("tools") or ()), tool(word)]
            case "system":
                body["system"] = [text(word, cache_control=EPHEMERAL)]
            case _:
                pass
        return body

    return change


@given(conversations(), changes(), changes())
def test_keys_are_equal_iff_what_bears_on_the_answer_is(said: list[Any], one: Any, other: Any) -> None:
    body = request(*said, tools=[tool()])
    first, second = one(body), other(body)
    assert (key(first) == key(second)) == (reference(first) == reference(second))


@given(LOOSE_BODY)
def test_shared_messages_have_the_keys_of_plain_ones(body: dict[str, Any]) -> None:
    assume(isinstance(body.get("tools", []), list))
    raw = orjson.dumps(body)
    interner = Interner()
    plain = orjson.loads(raw)
    before = copy.deepcopy(plain)
    for _ in range(2):
        assert key(parse_interned(raw, interner)) == key(plain)
    assert plain == before


# What a request says, and a way to write it: each text that stands alone as a string or as a block.
TEXTS = st.lists(st.sampled_from(["a", "b", "ab", " ", "[]", '[{"type":"text","text":"a"}]']), max_size=2)
SAID = st.tuples(TEXTS, st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
WAYS = st.lists(st.booleans(), min_size=12, max_size=12)


def written(said: Any, ways: list[bool]) -> dict[str, Any]:
    """Write a system prompt, and pairs of a tool's result and of what the user says."""
    short = iter(ways)

    def content(texts: list[str]) -> Any:
        blocks = [text(one) for one in texts]
        return texts[0] if next(short) and len(texts) == 1 else blocks

    prompt, turns = said
    messages: list[Any] = [user("begin")]
    for number, (result_texts, texts) in enumerate(turns):
        answered = {"type": "tool_result", "tool_use_id": str(number), "content": content(result_texts)}
        messages += [
            assistant(call(str(number))),
            {"role": "user", "content": [answered]},
            {"role": "system", "content": content([*texts[:1], "x"][:1])},
            {"role": "user", "content": content(texts or ["y"])},
        ]
    return request(*messages, system=content(prompt), tools=[tool()])


def parsed(body: dict[str, Any]) -> dict[str, Any]:
    """Give the body as a large one is parsed, its messages shared."""
    return parse_interned(orjson.dumps(body), Interner())


@given(SAID, WAYS, WAYS)
def test_a_string_is_a_text_block(said: Any, ways: list[bool], others: list[bool]) -> None:
    one, other = written(said, ways), written(said, others)
    assert key(one) == key(other) == key(parsed(one)) == key(parsed(other))


@given(SAID, SAID, WAYS)
def test_other_texts_have_other_keys(said: Any, other: Any, ways: list[bool]) -> None:
    one, another = written(said, [False] * 12), written(other, [False] * 12)
    same = json.dumps(one) == json.dumps(another)
    assert (key(one) == key(written(other, ways))) is same
    assert (key(parsed(written(said, ways))) == key(parsed(another))) is same


@given(SAID, WAYS)
def test_converters_make_no_difference_between_a_string_and_a_text_block(said: Any, ways: list[bool]) -> None:
    one, other = written(said, ways), written(said, [False] * 12)
    for dialect in (OPENROUTER, OPENAI, DATABRICKS_CLAUDE):
        chats = [to_chat(body, model="claude", dialect=dialect)[0] for body in (one, other)]
        assert chats[0] == chats[1]
    assert to_gemini(one, model="gemini-3-pro")[0] == to_gemini(other, model="gemini-3-pro")[0]


BODY = request(user("hello"), assistant("a", call("1")), user(result("1", "r")), tools=[tool()], system="s")
DOCUMENT = {"type": "document", "source": {"type": "content", "content": [text("d")]}}

SAME = {
    "another stream flag": (BODY, BODY | {"stream": True}),
    "no tools": (request(tools=[]), request()),
    "billing block": (request(system=[text("s")]), request(system=[text(BILLED), text("s")])),
    "billing line": (request(system=[text("s")]), request(system=[text(f"{BILLED}\n\ns")])),
    "text in a message": (request(user("s")), request(user(text("s")))),
    "text in a message, marked": (request(user("s")), request(user(text("s", cache_control=EPHEMERAL)))),
    "text in a result": (request(user(result("1", "r"))), request(user(result("1", text("r"))))),
    "text of the system": (request(system="s"), request(system=[text("s")])),
    "billing alone": (request(system=BILLED), request(system=[text(BILLED)])),
    "billing text": (request(system="s"), request(system=f"{BILLED}\ns")),
    "marked document": (
        request(user(DOCUMENT)),
        request(
            user({**DOCUMENT, "source": {"type": "content", "content": [text("d", cache_control=EPHEMERAL)]}})
        ),
    ),
    "marked result": (
        request(user(result("1", text("r")))),
        request(user(result("1", text("r", cache_control=EPHEMERAL), cache_control=EPHEMERAL))),
    ),
}
DIFFERENT = {
    "two texts": (request(user("ab")), request(user("a", "b"))),
    "text with citations": (request(user("a")), request(user(text("a", citations=[])))),
    "string like a block": (request(user('[{"type":"text","text":"a"}]')), request(user("a"))),
    "empty text": (request(user("")), request(user(text("")))),
    "empty system": (request(system=""), request(system=[text("")])),
    "empty result": (request(user(result("1", ""))), request(user(result("1", text(""))))),
    "text of a document": (
        request(user({"type": "document", "source": {"type": "content", "content": "d"}})),
        request(user({"type": "document", "source": {"type": "content", "content": [text("d")]}})),
    ),
    "order": (request(user("a"), user("b")), request(user("b"), user("a"))),
    "split": (request(user("ab"), user("c")), request(user("a"), user("bc"))),
    "input that looks like a breakpoint": (
        request(assistant(call("1", cache_control=1))),
        request(assistant(call("1"))),
    ),
    "tool turned message": (request(tools=[tool()]), request(user("hello"), tool())),
    "system message": (request(user("s")), request(system("s"))),
    "odd system": (request(system=3), request(system=[3])),
    "odd message": ({"messages": [3]}, {"messages": ["3"]}),
    "odd tool": (request(tools=[1]), request(tools=["1"])),
}


@pytest.mark.parametrize("case", SAME)
def test_same(case: str) -> None:
    one, other = SAME[case]
    assert key(one) == key(other)


@pytest.mark.parametrize("case", DIFFERENT)
def test_different(case: str) -> None:
    one, other = DIFFERENT[case]
    assert key(one) != key(other)


@pytest.mark.parametrize("what", ["tenant", "backend", "model", "house"])
def test_who_asks_whom_is_in_the_key(what: str) -> None:
    assert key(BODY) != key(BODY, **{what: "another"})


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"anthropic-version": "2023-06-01", "user-agent": "x", "x-api-key": "k"}, True),
        ({"anthropic-beta": "prompt-caching-2024-07-31, extended-cache-ttl-2025-04-11,"}, True),
        ({"anthropic-dangerous-direct-browser-access": "true"}, True),
        ({"anthropic-version": "2024-01-01"}, False),
        ({"anthropic-beta": "context-1m-2025-08-07"}, False),
        ({"x-openrouter-provider": "{}"}, False),
        ({"x-openai-seed": "1"}, False),
    ],
)
def test_headers(headers: dict[str, str], same: bool) -> None:
    assert (key(BODY) == key(BODY, headers=headers)) is same


def test_betas_have_no_order() -> None:
    one, other = {"anthropic-beta": "a,b"}, {"anthropic-beta": "b, a"}
    assert key(BODY, headers=one) == key(BODY, headers=other)


def test_what_json_cannot_hold_is_refused_with_its_path() -> None:
    deep: Any = "end"
    for _ in range(300):
        deep = [deep]
    with pytest.raises(InvalidRequest, match=r"messages\.0\.content"):
        key(request(user(call("1", given=deep))))
