"""Turns: what each sequence of Anthropic messages becomes on a chat wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.wire.requests import (
    EPHEMERAL,
    PNG,
    assistant,
    call,
    document,
    image,
    pdf,
    request,
    result,
    system,
    text,
    user,
)
from wire.chat_request import to_chat
from wire.chat_turns import FAILED, NO_RESULT
from wire.check import check_request
from wire.errors import InvalidRequest, UnsupportedContent
from wire.signature import pack_details

MODEL = "openai/gpt-5"
DETAILS = [{"type": "reasoning.text", "text": "Hm.", "index": 0}]
ENCRYPTED = [{"type": "reasoning.encrypted", "data": "xyz", "index": 1}]
PNG_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
SHOWN = "[image: shown after the tool results]"


def convert(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    body = request(*messages, **fields)
    check_request(body)
    return to_chat(body, model=MODEL)[0]["messages"]


def says(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def called(*calls: dict[str, Any], content: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields, "tool_calls": list(calls)}


def chat_call(identity: str, name: str = "Read", arguments: str = "{}") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def answered(identity: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": content}


def thinking(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


@dataclass(frozen=True)
class Case:
    name: str
    messages: list[dict[str, Any]]
    chat: list[dict[str, Any]]
    system: Any = None


CASES = [
    Case("a string", [user("hi")], [says("user", "hi")]),
    Case("one text block", [user(text("hi"))], [says("user", "hi")]),
    Case("several blocks", [user("a", "b")], [says("user", [text("a"), text("b")])]),
    Case("an empty text block is left out", [user("", "b")], [says("user", "b")]),
    Case("nothing at all is said to be nothing", [user("")], [says("user", "(no content)")]),
    Case("system as text", [user("hi")], [says("system", "Be brief."), says("user", "hi")], "Be brief."),
    Case(
        "system as blocks",
        [user("hi")],
        [says("system", [text("a"), text("b", cache_control=EPHEMERAL)]), says("user", [text("hi")])],
        [text("a"), text("b", cache_control=EPHEMERAL | {"scope": "global"})],
    ),
    Case("no system", [user("hi")], [says("user", "hi")], []),
    Case(
        "Claude Code's billing block is dropped",
        [user("hi")],
        [says("system", "You are Claude Code."), says("user", "hi")],
        [text("x-anthropic-billing-header: cc_version=2.1.330.abc; cch=1;"), text("You are Claude Code.")],
    ),
    Case(
        "what stands below the billing line stays",
        [user("hi")],
        [says("system", "Be brief."), says("user", "hi")],
        "x-anthropic-billing-header: cc_version=2.1\n\nBe brief.",
    ),
    Case(
        "a system message keeps its place",
        [user("a"), system("Note."), user("b"), assistant("c"), system(text("d"))],
        [
            says("user", "a"),
            says("system", "Note."),
            says("user", "b"),
            says("assistant", "c"),
            says("system", "d"),
        ],
    ),
    Case(
        "a system message without text is not there",
        [user("a"), system(""), {"role": "system", "output_config": {"effort": "low"}}],
        [says("user", "a")],
    ),
    Case(
        "a system message for one turn is gone in the next",
        [user("a"), system("Once.", clear_at="next_user_message"), assistant("b"), user("c")],
        [says("user", "a"), says("assistant", "b"), says("user", "c")],
    ),
    Case(
        "a system message for this turn is there",
        [user("a"), system("Once.", clear_at="next_user_message")],
        [says("user", "a"), says("system", "Once.")],
    ),
    Case("users in a row are one", [user("a"), user("b")], [says("user", [text("a"), text("b")])]),
    Case(
        "assistants in a row are one",
        [user("a"), assistant("b"), assistant("c"), user("d")],
        [says("user", "a"), says("assistant", "b\n\nc"), says("user", "d")],
    ),
    Case(
        "assistants with a note between them stay two",
        [user("a"), assistant("b"), system("Note."), assistant("c")],
        [says("user", "a"), says("assistant", "b"), says("system", "Note."), says("assistant", "c")],
    ),
    Case(
        "prefill",
        [user("a"), assistant("The answer is (")],
        [says("user", "a"), says("assistant", "The answer is (")],
    ),
    Case("an empty prefill is none", [user("a"), assistant("")], [says("user", "a")]),
    Case("the assistant may begin", [assistant("a"), user("b")], [says("assistant", "a"), says("user", "b")]),
    Case(
        "an assistant who said nothing, earlier",
        [user("a"), assistant(""), user("b")],
        [says("user", "a"), says("assistant", "(no content)"), says("user", "b")],
    ),
    Case(
        "text cut for citations is one text",
        [user("a"), assistant("The sky ", text("is blue", citations=[]), ".")],
        [says("user", "a"), says("assistant", "The sky is blue.")],
    ),
    Case(
        "a call and its result",
        [
            user("a"),
            assistant("I read.", call("t1", path="/é")),
            user(result("t1", "data")),
            assistant("done"),
        ],
        [
            says("user", "a"),
            called(chat_call("t1", arguments='{"path":"/é"}'), content="I read."),
            answered("t1", "data"),
            says("assistant", "done"),
        ],
    ),
    Case(
        "text on both sides of a call",
        [user("a"), assistant("b", call("t1"), "c"), user(result("t1", "d"))],
        [says("user", "a"), called(chat_call("t1"), content="b\n\nc"), answered("t1", "d")],
    ),
    Case(
        "results in another order, and a question behind them",
        [user("a"), assistant(call("t1"), call("t2")), user(result("t2", "2"), "and?", result("t1", "1"))],
        [
            says("user", "a"),
            called(chat_call("t1"), chat_call("t2")),
            answered("t1", "1"),
            answered("t2", "2"),
            says("user", "and?"),
        ],
    ),
    Case(
        "results over two turns with a note between them",
        [
            user("a"),
            assistant(call("t1"), call("t2")),
            user(result("t2", "2"), "b"),
            system("n"),
            user(result("t1", "1")),
        ],
        [
            says("user", "a"),
            called(chat_call("t1"), chat_call("t2")),
            answered("t1", "1"),
            answered("t2", "2"),
            says("user", "b"),
            says("system", "n"),
        ],
    ),
    Case(
        "a note never comes between a call and its result",
        [user("a"), assistant(call("t1")), system("Note."), user(result("t1", "1"))],
        [says("user", "a"), called(chat_call("t1")), answered("t1", "1"), says("system", "Note.")],
    ),
    Case(
        "calls over two assistant turns, a note between them",
        [
            user("a"),
            assistant(call("t1")),
            system("n"),
            assistant(call("t2")),
            user(result("t2", "2"), result("t1", "1")),
        ],
        [
            says("user", "a"),
            called(chat_call("t1"), chat_call("t2")),
            answered("t1", "1"),
            answered("t2", "2"),
            says("system", "n"),
        ],
    ),
    Case(
        "a call without a result says so",
        [user("a"), assistant(call("t1"), call("t2")), user(result("t2", "2"), "go on")],
        [
            says("user", "a"),
            called(chat_call("t1"), chat_call("t2")),
            answered("t1", NO_RESULT),
            answered("t2", "2"),
            says("user", "go on"),
        ],
    ),
    Case(
        "a call at the very end too: no backend continues one",
        [user("a"), assistant(call("t1"))],
        [says("user", "a"), called(chat_call("t1")), answered("t1", NO_RESULT)],
    ),
    Case(
        "empty and duplicate ids are replaced in calls and results alike",
        [
            user("a"),
            assistant(call(""), call("x"), call("x"), call("call_3")),
            user(result("x", "first x"), result("call_3", "c"), result("", "empty"), result("x", "second x")),
            assistant(call("x")),
            user(result("x", "third x")),
        ],
        [
            says("user", "a"),
            called(chat_call("call_0"), chat_call("x"), chat_call("call_2"), chat_call("call_3")),
            answered("call_0", "empty"),
            answered("x", "first x"),
            answered("call_2", "second x"),
            answered("call_3", "c"),
            called(chat_call("call_4")),
            answered("call_4", "third x"),
        ],
    ),
    Case(
        "a replacement does not meet an id that is there",
        [user("a"), assistant(call("call_1"), call("")), user(result("", "2"), result("call_1", "1"))],
        [
            says("user", "a"),
            called(chat_call("call_1"), chat_call("call_2")),
            answered("call_1", "1"),
            answered("call_2", "2"),
        ],
    ),
    Case(
        "two results for one call are both told",
        [user("a"), assistant(call("t1")), user(result("t1", "1"), result("t1", "again"))],
        [says("user", "a"), called(chat_call("t1")), answered("t1", "1\n\nagain")],
    ),
    Case(
        "results of every kind of emptiness",
        [
            user("a"),
            assistant(call("1"), call("2"), call("3"), call("4")),
            user(
                result("1"),
                result("2", ""),
                result("3") | {"content": []},
                result("4", text(""), is_error=True),
            ),
        ],
        [
            says("user", "a"),
            called(*map(chat_call, "1234")),
            answered("1", "(no output)"),
            answered("2", "(no output)"),
            answered("3", "(no output)"),
            answered("4", f"{FAILED}\n(no output)"),
        ],
    ),
    Case(
        "an error is told",
        [user("a"), assistant(call("1")), user(result("1", "no such file", is_error=True))],
        [says("user", "a"), called(chat_call("1")), answered("1", f"{FAILED}\nno such file")],
    ),
    Case(
        "blocks in a result",
        [
            user("a"),
            assistant(call("1")),
            user(
                result(
                    "1",
                    "one",
                    {"type": "tool_reference", "tool_name": "Write"},
                    {"type": "search_result", "source": "s", "title": "t", "content": [text("found")]},
                    document({"type": "text", "data": "page"}, title="Doc"),
                    {"type": "browser_state", "tabs": []},
                )
            ),
        ],
        [
            says("user", "a"),
            called(chat_call("1")),
            answered(
                "1",
                "one\n\n[tool loaded: Write]\n\nSearch result: t\nSource: s\n\nfound\n\n"
                'Title: Doc\n\npage\n\n[browser_state: {"tabs":[]}]',
            ),
        ],
    ),
    Case(
        "images in results follow all the tool messages",
        [
            user("a"),
            assistant(call("1"), call("2", "Shoot")),
            user(result("2", "see", image()), result("1", image(), image()), "and?"),
        ],
        [
            says("user", "a"),
            called(chat_call("1"), chat_call("2", "Shoot")),
            answered("1", f"{SHOWN}\n\n{SHOWN}"),
            answered("2", f"see\n\n{SHOWN}"),
            says(
                "user",
                [
                    text("[from the result of Read, 1]"),
                    PNG_PART,
                    PNG_PART,
                    text("[from the result of Shoot, 2]"),
                    PNG_PART,
                    text("and?"),
                ],
            ),
        ],
    ),
    Case(
        "images in results come before a note",
        [user("a"), assistant(call("1")), user(result("1", image())), system("n")],
        [
            says("user", "a"),
            called(chat_call("1")),
            answered("1", SHOWN),
            says("user", [text("[from the result of Read, 1]"), PNG_PART]),
            says("system", "n"),
        ],
    ),
    Case(
        "cache breakpoints stay on results",
        [
            user("a"),
            assistant(call("1"), call("2")),
            user(result("1", text("x", cache_control=EPHEMERAL)), result("2", "y", cache_control=EPHEMERAL)),
        ],
        [
            says("user", [text("a")]),
            called(chat_call("1"), chat_call("2")),
            answered("1", [text("x", cache_control=EPHEMERAL)]),
            answered("2", [text("y", cache_control=EPHEMERAL)]),
        ],
    ),
    Case(
        "a cache breakpoint on what the assistant said",
        [
            user("a"),
            assistant("b", text("c", cache_control=EPHEMERAL | {"ttl": "1h"}), call("1"), "d"),
            user(result("1")),
        ],
        [
            says("user", [text("a")]),
            called(
                chat_call("1"),
                content=[text("bc\n\nd", cache_control=EPHEMERAL | {"ttl": "1h"})],  # type: ignore[arg-type]
            ),
            answered("1", [text("(no output)")]),
        ],
    ),
    Case(
        "a cache breakpoint on a call goes to its result",
        [user("a"), assistant(call("1") | {"cache_control": EPHEMERAL}, call("2")), user(result("2", "y"))],
        [
            says("user", [text("a")]),
            called(chat_call("1"), chat_call("2")),
            answered("1", [text(NO_RESULT, cache_control=EPHEMERAL)]),
            answered("2", [text("y")]),
        ],
    ),
    Case(
        "a result of a call with a breakpoint is its result",
        [user("a"), assistant(call("1") | {"cache_control": EPHEMERAL}), user(result("1", "x"))],
        [
            says("user", [text("a")]),
            called(chat_call("1")),
            answered("1", [text("x", cache_control=EPHEMERAL)]),
        ],
    ),
    Case(
        "one breakpoint within a result stays one",
        [user("a"), assistant(call("1")), user(result("1", image(cache_control=EPHEMERAL)))],
        [
            says("user", [text("a")]),
            called(chat_call("1")),
            answered("1", [text(SHOWN, cache_control=EPHEMERAL)]),
            says("user", [text("[from the result of Read, 1]"), PNG_PART]),
        ],
    ),
    Case(
        "thinking goes back to the model that thought it",
        [user("a"), assistant(thinking(pack_details(DETAILS, MODEL)), "b"), user("c")],
        [says("user", "a"), says("assistant", "b", reasoning_details=DETAILS), says("user", "c")],
    ),
    Case(
        "redacted thinking too, in its place, with calls",
        [
            user("a"),
            assistant(
                thinking(pack_details(DETAILS, MODEL)),
                {"type": "redacted_thinking", "data": pack_details(ENCRYPTED, MODEL)},
                call("1"),
            ),
            user(result("1")),
        ],
        [
            says("user", "a"),
            called(chat_call("1"), reasoning_details=DETAILS + ENCRYPTED),
            answered("1", "(no output)"),
        ],
    ),
    Case(
        "an assistant who only thought",
        [user("a"), assistant(thinking(pack_details(DETAILS, MODEL))), user("c")],
        [says("user", "a"), says("assistant", "", reasoning_details=DETAILS), says("user", "c")],
    ),
    Case(
        "foreign thinking is dropped",
        [
            user("a"),
            assistant(
                thinking("EqQBCgIYAhIM"),
                thinking(pack_details(DETAILS, "openai/gpt-4")),
                {"type": "thinking", "thinking": "unsigned"},
                {"type": "redacted_thinking", "data": "EqQB"},
                "b",
            ),
            user("c"),
        ],
        [says("user", "a"), says("assistant", "b"), says("user", "c")],
    ),
    Case(
        "what a server tool did is told",
        [
            user("a"),
            assistant(
                "I search.",
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "s",
                    "content": [
                        {
                            "type": "web_search_result",
                            "title": "T",
                            "url": "http://t",
                            "encrypted_content": "E",
                        },
                        "odd",
                    ],
                },
                "Found.",
            ),
        ],
        [
            says("user", "a"),
            says(
                "assistant",
                'I search.\n\n[called web_search: {"query":"x"}]\n\n[web search results]\n- T: http://t\n\nFound.',
            ),
        ],
    ),
    Case(
        "blocks that only steer Anthropic's servers are not told",
        [
            user("a"),
            assistant(
                {"type": "fallback", "from": {}, "to": {}},
                {"type": "mcp_tool_listing", "mcp_server_name": "s", "tools": []},
                {"type": "compaction", "content": None},
                "b",
            ),
            user({"type": "compaction", "content": "So far."}, {"type": "fallback"}, "c"),
        ],
        [says("user", "a"), says("assistant", "b"), says("user", [text("So far."), text("c")])],
    ),
    Case(
        "a PDF in a result",
        [user("a"), assistant(call("1")), user(result("1", pdf(title="A.pdf")))],
        [
            says("user", "a"),
            called(chat_call("1")),
            answered("1", "Title: A.pdf\n\n[file: shown after the tool results]"),
            says(
                "user",
                [
                    text("[from the result of Read, 1]"),
                    {
                        "type": "file",
                        "file": {
                            "filename": "A.pdf",
                            "file_data": "data:application/pdf;base64," + pdf()["source"]["data"],
                        },
                    },
                ],
            ),
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_turns(case: Case) -> None:
    assert convert(*case.messages, system=case.system) == case.chat


REFUSED = {
    "an image by the assistant": ("messages.1.content.0", [user("a"), assistant(image())]),
    "a document by the assistant": ("messages.1.content.1", [user("a"), assistant("b", pdf())]),
    "an uploaded image": (
        "messages.0.content.0.source",
        [user({"type": "image", "source": {"type": "file", "file_id": "file_1"}})],
    ),
    "an uploaded document": (
        "messages.0.content.0.source",
        [user(document({"type": "file", "file_id": "file_1"}))],
    ),
    "an uploaded image in a result": (
        "messages.2.content.0.content.0.source",
        [
            user("a"),
            assistant(call("1")),
            user(result("1", {"type": "image", "source": {"type": "file", "file_id": "file_1"}})),
        ],
    ),
    "a file for a container": (
        "messages.0.content.0",
        [user({"type": "container_upload", "file_id": "file_1"})],
    ),
    "a tool taken away": (
        "messages.1.content.0",
        [user("a"), system({"type": "tool_removal", "tool": {"type": "tool_reference", "name": "Read"}})],
    ),
    "a tool defined on the way": (
        "messages.1.content.0",
        [user("a"), system({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {}}})],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_chat_form_is_refused_with_its_path(name: str) -> None:
    path, messages = REFUSED[name]
    with pytest.raises(UnsupportedContent) as caught:
        convert(*messages)
    assert caught.value.message.startswith(f"{path}: ")


def test_an_orphan_that_nobody_checked_is_refused() -> None:
    body = request(user("a"), assistant(call("1")), user(result("2")))
    with pytest.raises(InvalidRequest, match=r"^messages\.2\.content\.0\.tool_use_id: "):
        to_chat(body, model=MODEL)


def test_input_too_deep_is_refused_with_its_path() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    body = request(user("a"), assistant(call("1", x=deep)))
    with pytest.raises(InvalidRequest, match=r"^messages\.1\.content\.0\.input\.x\.a"):
        to_chat(body, model=MODEL)
