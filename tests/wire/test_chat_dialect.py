"""What becomes of a request in each dialect."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.requests import (
    EPHEMERAL,
    assistant,
    call,
    document,
    image,
    pdf,
    request,
    result,
    system,
    text,
    tool,
    user,
)
from tests.wire.test_request_properties import LOOSE_BODY, conversations
from wire.chat_request import to_chat
from wire.check import check_request, encode_body, parse_body
from wire.dialects import (
    DATABRICKS,
    DATABRICKS_CLAUDE,
    LITELLM,
    OPENAI,
    OPENAI_PLATFORM,
    OPENROUTER,
    Dialect,
)
from wire.errors import GatewayError, UnsupportedContent
from wire.signature import pack_details

ALL = (DATABRICKS, DATABRICKS_CLAUDE, LITELLM, OPENAI, OPENAI_PLATFORM, OPENROUTER)
MODEL = "some/model"
SCHEMA = {"type": "object", "properties": {}}
WEB = {"type": "web_search_20250305", "name": "web_search"}


def chat_of(body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    check_request(body)
    before = copy.deepcopy(body)
    chat, _ = to_chat(body, model=MODEL, dialect=dialect)
    assert body == before
    return chat


@dataclass(frozen=True)
class Case:
    """Fields of a request, and those of the chat request that come of them, `messages` and `model` apart."""

    name: str
    dialect: Dialect
    given: dict[str, Any]
    made: dict[str, Any]


LIMIT = {"max_tokens": 1024}
THINKING = {"type": "enabled", "budget_tokens": 2000}
ROOMY = {"max_tokens": 9000}
CASES = [
    Case("plain", OPENAI, {}, LIMIT),
    Case("another name for the limit", OPENAI_PLATFORM, {}, {"max_completion_tokens": 1024}),
    Case("LiteLLM is OpenRouter", LITELLM, {"min_p": 1}, LIMIT | {"min_p": 1, "usage": {"include": True}}),
    Case("a small budget", OPENAI, {"thinking": THINKING}, LIMIT | {"reasoning_effort": "low"}),
    Case(
        "a budget",
        OPENAI,
        {"thinking": {"type": "enabled", "budget_tokens": 5000}},
        LIMIT | {"reasoning_effort": "medium"},
    ),
    Case(
        "a large budget",
        DATABRICKS,
        {"thinking": {"type": "enabled", "budget_tokens": 31999}},
        LIMIT | {"reasoning_effort": "high"},
    ),
    Case("no thinking", OPENAI, {"thinking": {"type": "disabled"}}, LIMIT),
    Case("some thinking", OPENAI, {"thinking": {"type": "adaptive"}}, LIMIT),
    Case(
        "an effort", OPENAI, {"output_config": {"effort": "medium"}}, LIMIT | {"reasoning_effort": "medium"}
    ),
    Case("the most", OPENAI, {"output_config": {"effort": "max"}}, LIMIT | {"reasoning_effort": "high"}),
    Case("none", OPENAI, {"reasoning": {"effort": "none"}}, LIMIT),
    Case(
        "the client's own effort",
        OPENAI,
        {"reasoning_effort": "minimal", "output_config": {"effort": "high"}},
        LIMIT | {"reasoning_effort": "minimal"},
    ),
    Case(
        "Claude's thinking", DATABRICKS_CLAUDE, ROOMY | {"thinking": THINKING}, ROOMY | {"thinking": THINKING}
    ),
    Case(
        "a budget beyond the limit",
        DATABRICKS_CLAUDE,
        {"thinking": THINKING, "max_tokens": 1500},
        {"max_tokens": 1500, "thinking": {"type": "enabled", "budget_tokens": 1499}},
    ),
    Case("too little for a budget", DATABRICKS_CLAUDE, {"thinking": THINKING}, LIMIT),
    Case("Claude's disabled", DATABRICKS_CLAUDE, {"thinking": {"type": "disabled"}}, LIMIT),
    Case(
        "Claude's adaptive",
        DATABRICKS_CLAUDE,
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        LIMIT | {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
    ),
    Case(
        "OpenRouter's reasoning for Claude",
        DATABRICKS_CLAUDE,
        ROOMY | {"reasoning": {"max_tokens": 2000}},
        ROOMY | {"thinking": THINKING},
    ),
    Case(
        "OpenRouter's effort for Claude",
        DATABRICKS_CLAUDE,
        {"reasoning": {"effort": "high"}},
        LIMIT | {"output_config": {"effort": "high"}},
    ),
    Case(
        "a schema",
        DATABRICKS_CLAUDE,
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
        LIMIT | {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    Case(
        "a chat client's schema",
        DATABRICKS_CLAUDE,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
        LIMIT | {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    Case("plain text", DATABRICKS_CLAUDE, {"response_format": {"type": "text"}}, LIMIT),
    Case(
        "an object",
        DATABRICKS,
        {"response_format": {"type": "json_object"}},
        LIMIT | {"response_format": {"type": "json_object"}},
    ),
    Case(
        "samplers",
        OPENAI,
        {"top_k": 3, "min_p": 0.1, "top_a": 0.2, "seed": 5, "provider": {"only": ["x"]}},
        LIMIT | {"top_k": 3, "min_p": 0.1, "seed": 5},
    ),
    Case("a user", DATABRICKS, {"metadata": {"user_id": "u"}, "stream": True}, LIMIT | {"stream": True}),
    Case(
        "a stream",
        OPENAI,
        {"stream": True},
        LIMIT | {"stream": True, "stream_options": {"include_usage": True}},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.dialect.name}: {case.name}")
def test_fields(case: Case) -> None:
    chat = chat_of(request(**case.given), case.dialect)
    del chat["messages"]
    assert chat.pop("model", MODEL) == MODEL
    assert chat == case.made


@pytest.mark.parametrize(
    ("dialect", "body", "path"),
    [
        (OPENAI, request(tools=[tool(), WEB]), "tools.1"),
        (DATABRICKS, request(plugins=[{"id": "web"}]), "plugins"),
        (OPENAI, request(user("a"), assistant("b"), user("c", pdf())), "messages.2.content.1.source"),
        (
            OPENAI_PLATFORM,
            request(user(document({"type": "url", "url": "https://a/b"}))),
            "messages.0.content.0",
        ),
        (
            DATABRICKS_CLAUDE,
            request(user("a"), assistant(call("t")), user(result("t", "x", pdf()))),
            "messages.2.content.0.content.1.source",
        ),
        (DATABRICKS_CLAUDE, request(response_format={"type": "json_object"}), "response_format"),
        (DATABRICKS_CLAUDE, request(response_format={"json_schema": 5}), "response_format"),
    ],
)
def test_what_has_no_form_is_refused_with_its_path(dialect: Dialect, body: dict[str, Any], path: str) -> None:
    with pytest.raises(UnsupportedContent, match=f"^{path}"):
        chat_of(body, dialect)


def test_files_that_are_taken() -> None:
    chat = chat_of(request(user(pdf())), OPENAI_PLATFORM)
    assert chat["messages"][0]["content"][0]["type"] == "file"
    plain = document({"type": "text", "media_type": "text/plain", "data": "words"})
    assert chat_of(request(user(plain)), OPENAI)["messages"][0]["content"] == "words"


# ---- messages ----


def messages_of(dialect: Dialect, *messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = chat_of(request(*messages, **fields), dialect)["messages"]
    return made


def test_breakpoints_go_and_text_is_plain_again() -> None:
    marked = text("b", cache_control=EPHEMERAL)
    chat = chat_of(
        request(
            user("a", marked),
            assistant(text("c", cache_control=EPHEMERAL), text("d")),
            user(image(cache_control=EPHEMERAL)),
            system=[marked],
            tools=[tool(cache_control=EPHEMERAL)],
        ),
        OPENAI,
    )
    assert "cache_control" not in encode_body(chat).decode()
    assert [one["content"] for one in chat["messages"][:3]] == ["b", "a\n\nb", "cd"]
    assert [part["type"] for part in chat["messages"][3]["content"]] == ["image_url"]
    kept = chat_of(request(user(marked)), DATABRICKS_CLAUDE)["messages"][0]["content"]
    assert kept == [{"type": "text", "text": "b", "cache_control": EPHEMERAL}]


def test_late_system_messages_become_the_users() -> None:
    made = messages_of(OPENAI, user("a"), system("b"), assistant("c"), user("d"), system("e"), system="s")
    assert made == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a\n\n<system>\nb\n</system>"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d\n\n<system>\ne\n</system>"},
    ]
    assert messages_of(OPENAI, system("b"), user("a"), system="s")[0]["content"] == "s\n\nb"
    shown = messages_of(OPENAI, user(image()), system("b"))[0]["content"]
    assert [part["type"] for part in shown] == ["image_url", "text"]
    marked = system(text("e", cache_control=EPHEMERAL), text("f"))
    (joined,) = messages_of(DATABRICKS_CLAUDE, user("a"), marked)
    assert [part["text"] for part in joined["content"]] == ["a", "<system>", "e", "f", "</system>"]
    assert messages_of(OPENAI_PLATFORM, user("a"), system("b"))[1]["role"] == "system"


def test_each_call_directly_before_its_result() -> None:
    said = [user("a"), assistant("b", call("1"), call("2"), call("3")), user(result("3"), result("1"), "c")]
    made = messages_of(DATABRICKS, *said)
    ids = [one.get("tool_call_id") or [each["id"] for each in one.get("tool_calls", ())] for one in made]
    assert ids == [[], ["1"], "1", ["2"], "2", ["3"], "3", []]
    assert [one["content"] for one in made[1:4:2]] == ["b", None]
    assert len(messages_of(DATABRICKS_CLAUDE, *said)) == 6


def thought(*details: dict[str, Any]) -> dict[str, Any]:
    sealed = pack_details([{"type": "reasoning.text", **one} for one in details], MODEL)
    return {"type": "thinking", "thinking": "hm", "signature": sealed}


SIGNED = {"text": "hm", "signature": "sig"}
PART = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm", "signature": "sig"}]}


@pytest.mark.parametrize(
    ("dialect", "said", "made"),
    [
        (OPENAI, [thought(SIGNED), text("b")], "b"),
        (OPENAI, [thought(SIGNED)], "(no content)"),
        (OPENAI, [thought(SIGNED), call("1")], None),
        (DATABRICKS_CLAUDE, [text("b")], "b"),
        (DATABRICKS_CLAUDE, [thought(SIGNED), text("b")], [PART, {"type": "text", "text": "b"}]),
        (DATABRICKS_CLAUDE, [thought(SIGNED), call("1")], [PART]),
        (DATABRICKS_CLAUDE, [thought({"text": "unsigned"}), text("b")], "b"),
        (
            DATABRICKS_CLAUDE,
            [thought(SIGNED), text("b", cache_control=EPHEMERAL)],
            [PART, {"type": "text", "text": "b", "cache_control": EPHEMERAL}],
        ),
    ],
)
def test_earlier_thinking(dialect: Dialect, said: list[Any], made: Any) -> None:
    message = messages_of(dialect, user("a"), assistant(*said), user("c"))[1]
    assert message["content"] == made
    assert "reasoning_details" not in message


# ---- what holds for all ----


@pytest.mark.no_cover  # tracing takes twice its time, and others run the same lines
@settings(max_examples=300)
@given(LOOSE_BODY, st.sampled_from(ALL))
def test_only_what_is_taken_goes_out(body: dict[str, Any], dialect: Dialect) -> None:
    try:
        chat = chat_of(body, dialect)
    except GatewayError:
        return
    assert chat.keys() <= dialect.takes


@settings(max_examples=200)
@given(conversations(), st.sampled_from(ALL))
def test_every_result_follows_its_call(messages: list[dict[str, Any]], dialect: Dialect) -> None:
    made = messages_of(dialect, *messages, tools=[tool("Read"), tool("Write"), tool("x" * 70)])
    expected: list[str] = []
    for message in made:
        if message["role"] == "tool":
            assert message["tool_call_id"] == expected.pop(0)
        else:
            assert not expected
            expected = [one["id"] for one in message.get("tool_calls", ())]
            if not dialect.parallel_results:
                assert len(expected) < 2
    assert not expected
    if not dialect.system_anywhere:
        assert "system" not in [message["role"] for message in made[1:]]


@settings(max_examples=200)
@given(conversations(), st.sampled_from(ALL))
def test_the_next_turn_begins_with_this_one(messages: list[dict[str, Any]], dialect: Dialect) -> None:
    """Prefix caches hold in every dialect."""
    now = [*messages, user("Go on.")]
    tools = [tool("Read"), tool("Write"), tool("x" * 70)]
    first = messages_of(dialect, *now, tools=tools)
    second = messages_of(dialect, *now, assistant("And so on."), user("More."), tools=tools)
    assert second[: len(first)] == first


def test_what_requests_share_stays_as_it_is() -> None:
    """A long conversation's messages are kept between requests, in OpenRouter's form (`wire.interning`)."""
    said = [user("word " * 20_000), assistant(thought(SIGNED), call("1"), call("2")), user(result("1"))]
    raw = encode_body(request(*said, system("s"), assistant("b"), user("c"), tools=[tool("Read")]))
    before = to_chat(parse_body(raw), model=MODEL)[0]
    for dialect in ALL:
        for _ in range(2):
            body = parse_body(raw)
            check_request(body)
            to_chat(body, model=MODEL, dialect=dialect)
    body = parse_body(raw)
    check_request(body)
    assert to_chat(body, model=MODEL)[0] == before
