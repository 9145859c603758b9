"""An OpenAI client's body on a chat backend's wire, and the translations that are made of two."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.wire.answers import chunk, context, run, sse
from tests.wire.openai_answers import SHAPE, chunks_of
from tests.wire.test_openai_check import TOOL, body
from wire.chat_bytes import ChatBytes
from wire.check import encode_body
from wire.dialects import DATABRICKS, OPENAI, OPENAI_PLATFORM, OPENROUTER, Dialect
from wire.errors import Overloaded, UpstreamFailed
from wire.openai_bytes import Chained, MessagesToOpenAI
from wire.openai_chat import choices_of, error_in, goes_as_it_came, to_openai_chat
from wire.openai_request import from_openai


def sent(client: dict[str, Any], dialect: Dialect = OPENROUTER, **changed: Any) -> dict[str, Any]:
    """Give what goes out, where the gateway changed these fields; None takes one away."""
    before = from_openai(client, chat_only=[])
    after = {name: value for name, value in {**before, **changed}.items() if value is not None}
    kept = copy.deepcopy((client, before, after))
    chat = to_openai_chat(client, before, after, model="vendor/m", dialect=dialect)
    assert (client, before, after) == kept
    return chat


def test_a_body_goes_as_it_came() -> None:
    client = body(
        n=2, logprobs=True, tools=[TOOL], tool_choice="auto", stop="a", user="u", of_theirs={"a": [None]}
    )
    assert sent(client) == client | {"model": "vendor/m", "usage": {"include": True}}
    assert sent(client, OPENAI) == client | {"model": "vendor/m"}


MARK = {"cache_control": {"type": "ephemeral"}}
PARTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", **MARK}]


def test_cache_breakpoints_stay_where_the_backend_knows_them() -> None:
    says = [
        {"role": "user", "content": PARTS},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    client = body(messages=says, tools=[TOOL | MARK], **MARK)
    kept = sent(client)
    assert (kept["messages"], kept["tools"], kept["cache_control"]) == (
        says,
        [TOOL | MARK],
        MARK["cache_control"],
    )
    bare = sent(client, OPENAI)
    assert "cache_control" not in encode_body(bare).decode()
    assert [one["content"] for one in bare["messages"]] == [
        [PARTS[0], {"type": "text", "text": "b"}],
        "c",
        "d",
    ]
    assert bare["tools"] == [TOOL]


def test_a_stream_is_asked_for_its_usage() -> None:
    chat = sent(body(stream=True, stream_options={"include_obfuscation": False}))
    assert chat["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert "stream_options" not in sent(body(stream=True), DATABRICKS)


@pytest.mark.parametrize(
    ("client", "changed", "dialect", "made"),
    [
        ({}, {"seed": 5, "min_p": 0.1}, OPENROUTER, {"seed": 5, "min_p": 0.1}),
        ({}, {"provider": {"sort": "price"}}, OPENAI, {}),
        ({"temperature": 1.5}, {"temperature": 0.2}, OPENROUTER, {"temperature": 0.2}),
        ({"temperature": 1.5}, {}, OPENROUTER, {"temperature": 1.5}),
        ({"seed": 5}, {"seed": None}, OPENROUTER, {"seed": None}),
        ({}, {"metadata": {"user_id": "u"}}, OPENROUTER, {"user": "u"}),
        ({}, {"metadata": {"user_id": "u"}}, DATABRICKS, {}),
        (
            {},
            {"thinking": {"type": "enabled", "budget_tokens": 9}},
            OPENROUTER,
            {"reasoning": {"max_tokens": 9}},
        ),
        ({}, {"output_config": {"effort": "high"}}, OPENAI, {"reasoning_effort": "high"}),
        (
            {"reasoning_effort": "high"},
            {"thinking": {"type": "disabled"}},
            OPENAI,
            {"reasoning_effort": None},
        ),
        ({"reasoning_effort": "high"}, {}, OPENROUTER, {"reasoning_effort": "high"}),
        ({}, {"output_config": {"task_budget": 5}}, OPENROUTER, {}),
        ({"max_tokens": 5}, {}, OPENAI_PLATFORM, {"max_tokens": None, "max_completion_tokens": 5}),
        ({"max_completion_tokens": 5}, {}, OPENAI_PLATFORM, {"max_completion_tokens": 5}),
    ],
)
def test_what_the_gateway_says(
    client: dict[str, Any], changed: dict[str, Any], dialect: Dialect, made: dict[str, Any]
) -> None:
    expected = {"usage": {"include": True}} if dialect is OPENROUTER else {}
    expected |= body() | {"model": "vendor/m"} | client | made
    chat = sent(body(**client), dialect, **changed)
    assert chat == {name: value for name, value in expected.items() if value is not None}


def test_an_endpoint_with_a_form_of_its_own_gets_that() -> None:
    assert goes_as_it_came(OPENROUTER)
    assert not goes_as_it_came(DATABRICKS)


@pytest.mark.parametrize(
    ("chunk", "error"),
    [
        ({}, None),
        ({"error": None, "choices": 5}, None),
        ({"error": {"code": 5}}, {"code": 5}),
        ({"error": "full"}, {"message": "full"}),
        ({"choices": [5, {"error": {"code": 5}}]}, {"code": 5}),
        (
            {"choices": [{"finish_reason": "error"}]},
            {"message": "the upstream ended the answer with an error"},
        ),
    ],
)
def test_errors_inside_an_answer(chunk: dict[str, Any], error: Any) -> None:
    assert error_in(chunk) == error


def test_choices_are_objects() -> None:
    assert choices_of({"choices": [5, {"index": 0}]}) == [{"index": 0}]


# A chat in a form of its own.


def chained() -> Chained:
    return Chained(ChatBytes(context()), MessagesToOpenAI(context(), SHAPE))


def test_parts_of_a_chat_become_text_and_reasoning() -> None:
    parts = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm.", "signature": "s"}]},
        {"type": "text", "text": "Hello."},
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    machine = chained()
    assert not machine.started
    out, error = run(machine, [sse(chunk({"content": parts}), chunk({}, "stop", usage=usage), "[DONE]")])
    assert error is None
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in chunks_of(out)[:-1])
    assert text == "Hello."
    assert (machine.started, machine.failed, machine.stop_reason) == (True, False, "end_turn")
    assert machine.usage is not None
    assert (machine.usage["input_tokens"], machine.cost, machine.generation_id) == (5, None, "gen-1")


def test_an_end_of_both() -> None:
    out, error = run(chained(), [sse(chunk({"content": "a"}), chunk({}, "stop"))])
    assert error is None
    assert out.endswith(b"data: [DONE]\n\n")


def test_errors_of_either() -> None:
    machine = chained()
    assert machine.feed(sse(chunk({"content": "a"}), {"error": {"code": 503, "message": "full"}})) != b""
    assert machine.failed
    with pytest.raises(Overloaded):
        machine.finish()
    _, error = run(chained(), [sse(chunk({"content": "a"}))])
    assert isinstance(error, UpstreamFailed)


def test_fail_is_one_error() -> None:
    machine = chained()
    assert b'"message":"later"' in machine.fail(Overloaded("later"), "req_1")
    assert machine.failed
