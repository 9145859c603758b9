"""Cache breakpoints: found wherever they may be, and put where they do not harm."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from tests.wire.requests import (
    EPHEMERAL,
    assistant,
    call,
    document,
    image,
    request,
    result,
    system,
    text,
    tool,
    user,
)
from wire.billing import BILLING
from wire.breakpoints import has_breakpoints, with_breakpoints, with_chat_breakpoints
from wire.check import check_request
from wire.interning import Interner, parse_interned

MARKED = text("b", cache_control=EPHEMERAL)
PARTED = {"type": "content", "content": [MARKED]}
SEARCHED = {"type": "web_search_tool_result", "tool_use_id": "s", "content": ["odd", {"error_code": "x"}]}


@pytest.mark.parametrize(
    ("body", "there"),
    [
        (request(), False),
        (request(cache_control=None, system="a", tools=[tool()]), False),
        (request(user(text("a", cache_control=None))), False),
        (request(cache_control=EPHEMERAL), True),
        (request(tools=[tool(), tool("b", cache_control=EPHEMERAL)]), True),
        (request(system=[text("a"), MARKED]), True),
        (request(user("a"), assistant("b"), user("c", MARKED)), True),
        (request(user("a"), assistant(call("1")), user(result("1", MARKED))), True),
        (request(user("a"), assistant(call("1")), user(result("1", "x", cache_control=EPHEMERAL))), True),
        (request(user(document(PARTED))), True),
        (request(user(document({"type": "content", "content": "a"}), image())), False),
        (request(user("a"), assistant(SEARCHED), user(text('"cache_control"'))), False),
        (request(user("a"), assistant(call("1", cache_control="x"))), False),
        (request(user("a"), {"role": "system", "output_config": {}}), False),
    ],
)
def test_breakpoints_are_found(body: dict[str, Any], there: bool) -> None:
    assert has_breakpoints(body) is there
    assert has_breakpoints(parse_interned(orjson.dumps(body), Interner())) is there


def marks(body: dict[str, Any]) -> list[Any]:
    """Give what bears a mark: a tool's name, "system" and its place, a message's and a block's place."""
    tools = [one for one in body.get("tools") or () if "cache_control" in one]
    found: list[Any] = [one.get("name") or one["function"]["name"] for one in tools]
    found += [("system", n) for n, one in enumerate(body.get("system") or ()) if "cache_control" in one]
    for place, message in enumerate(body["messages"]):
        if isinstance(message.get("content"), list):
            found += [(place, n) for n, one in enumerate(message["content"]) if "cache_control" in one]
    return found


LATER = tool("later", defer_loading=True)
TALK = [user("a"), assistant("b"), user("c"), assistant("d"), user("e")]


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (request(user("a")), []),
        (request(user("a"), tools=[tool("a"), tool("b"), LATER], system="s"), ["b", ("system", 0)]),
        (request(user("a"), tools=[LATER], system=[text("s"), text(" ")]), [("system", 0)]),
        (request(user("a"), tools=[], system=[text(f"{BILLING} x")]), []),
        (request(user("a"), system=None, tools=None), []),
        (request(*TALK[:3]), [(0, 0), (2, 0)]),
        (request(*TALK), [(2, 0), (4, 0)]),
        (request(*TALK, system("note"), system("gone", clear_at="next_user_message")), [(2, 0), (4, 0)]),
        (request(*TALK, assistant("prefill")), [(2, 0), (4, 0)]),
        (request(user("a"), assistant("prefill")), []),
        (request(assistant("a"), user("b")), [(1, 0)]),
        (request(user(" "), assistant("a"), user("b", text(""))), [(2, 0)]),
        (request(user("a"), assistant(call("1")), user(result("1"), image())), [(0, 0), (2, 1)]),
        (request(user("a"), assistant(call("1")), user(result("1"))), [(0, 0), (2, 0)]),
        (request(assistant("a")), []),
    ],
)
@pytest.mark.parametrize("in_blocks", [False, True])
def test_they_stand_where_the_prefix_lasts(body: dict[str, Any], at: list[Any], in_blocks: bool) -> None:
    before = copy.deepcopy(body)
    made = with_breakpoints(body, in_blocks=in_blocks)
    assert body == before
    assert marks(made) == at
    check_request(made)


def test_strings_become_blocks_only_where_nobody_else_sees_to_it() -> None:
    kinds = [
        [type(one["content"]) for one in with_breakpoints(request(*TALK), in_blocks=one)["messages"]]
        for one in (True, False)
    ]
    assert kinds == [[list] * 5, [str, str, list, str, list]]
    blank = with_breakpoints(request(user(" "), {"role": "system"}), in_blocks=True)
    assert blank["messages"] == [user(" "), {"role": "system"}]


def says(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


FUNCTION = {"type": "function", "function": {"name": "Read"}}
CALLS = [{"id": "1", "type": "function", "function": {"name": "Read", "arguments": "{}"}}]
AUDIO = {"type": "input_audio"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


@pytest.mark.parametrize(
    ("chat", "at"),
    [
        ({"messages": [says("user", "a")]}, []),
        ({"messages": [says("system", "s"), says("developer", "t"), says("user", "a")]}, [(1, 0)]),
        ({"messages": [says("system", "s")], "tools": [FUNCTION]}, ["Read", (0, 0)]),
        (
            {
                "messages": [
                    says("user", "a"),
                    says("assistant", None, tool_calls=CALLS),
                    says("tool", "r", tool_call_id="1"),
                ]
            },
            [(0, 0), (2, 0)],
        ),
        ({"messages": [says("user", ""), says("assistant", "b"), says("user", [PICTURE])]}, [(2, 0)]),
        (
            {
                "messages": [
                    says("user", [{"type": "input_audio"}]),
                    says("assistant", "b"),
                    says("user", "c"),
                ]
            },
            [(2, 0)],
        ),
    ],
)
def test_an_openai_client_s_stand_in_the_same_places(chat: dict[str, Any], at: list[Any]) -> None:
    before = copy.deepcopy(chat)
    made = with_chat_breakpoints(chat)
    assert chat == before
    assert marks(made) == at
    said = [one["content"] for one in made["messages"]]
    assert not any(isinstance(one, str) and one for one in said)
