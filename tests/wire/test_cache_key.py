"""The key is equal when, and only when, nothing that bears on the answer differs."""

from __future__ import annotations

import copy
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.requests import EPHEMERAL, assistant, call, request, result, system, text, tool, user
from tests.wire.test_request_properties import LOOSE_BODY, conversations
from wire.cache_key import NO_BEARING, cache_key
from wire.errors import InvalidRequest
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
    source = block.get("source")
    if isinstance(source, dict) and isinstance(source.get("content"), list):
        block["source"] = {**source, "content": [unmarked(one) for one in source["content"]]}
    return block


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
    return json.dumps(told, sort_keys=True)


@st.composite
def changes(draw: st.DrawFn) -> Any:
    """Draw something done to a request: what has no bearing, and what has."""
    kind = draw(
        st.sampled_from(["volatile", "mark", "reverse", "field", "message", "tool", "system", "nothing"])
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
    raw = orjson.dumps(body)
    interner = Interner()
    plain = orjson.loads(raw)
    before = copy.deepcopy(plain)
    for _ in range(2):
        assert key(parse_interned(raw, interner)) == key(plain)
    assert plain == before


BODY = request(user("hello"), assistant("a", call("1")), user(result("1", "r")), tools=[tool()], system="s")
DOCUMENT = {"type": "document", "source": {"type": "content", "content": [text("d")]}}

SAME = {
    "another stream flag": (BODY, BODY | {"stream": True}),
    "no tools": (request(tools=[]), request()),
    "billing block": (request(system=[text("s")]), request(system=[text(BILLED), text("s")])),
    "billing line": (request(system=[text("s")]), request(system=[text(f"{BILLED}\n\ns")])),
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
