"""Headgate in front of llama.cpp's server, which no one here wrote. The model's weights are random.

What it says is gibberish, so that what is told is form: a bias on one token makes words of it (`xxxx`), a
grammar (of a schema, of a tool) makes JSON.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.llama_cpp.server import CONTEXT
from tests.routers.universal import PNG

ASKED = [{"role": "user", "content": "Hello"}]
SCHEMA = {
    "type": "object",
    "properties": {"where": {"enum": ["up", "down"]}, "far": {"type": "boolean"}},
    "required": ["where", "far"],
    "additionalProperties": False,
}
TOOL = {"name": "look", "description": "Look somewhere.", "input_schema": SCHEMA}
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
# Token numbers of the tiny model: a byte is its own, then come the marks.
LETTER_X, END, CALL = ord("x"), 258, 259
ALWAYS_X = {"logit_bias": {str(LETTER_X): 100}}
AT_ONCE_THE_END = {"logit_bias": {str(END): 100}}
ONE_CALL = {"logit_bias": {str(CALL): 90, str(END): 100}}  # the grammar lets it end after a call only
CALL_AFTER_CALL = {"logit_bias": {str(CALL): 100, str(END): 90}}


def told(client: anthropic.Anthropic, *, stream: bool, **asked: Any) -> anthropic.types.Message:
    asked = {"model": "tiny", "max_tokens": 30, "messages": ASKED} | asked
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as answer:
        return answer.get_final_message()


streamed_or_not = pytest.mark.parametrize("stream", [False, True])


@streamed_or_not
def test_max_tokens_ends_it(claude, stream):
    message = told(claude, stream=stream, system="Be brief.")
    (block,) = message.content
    assert block.text.isalpha()
    assert len(block.text) == 30
    assert message.stop_reason == "max_tokens"
    assert message.model == "tiny"
    assert message.usage.output_tokens == 30
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > len("Be brief.Hello")


@streamed_or_not
def test_the_models_own_end(claude, stream):
    message = told(claude, stream=stream, extra_body=AT_ONCE_THE_END)
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 1


@streamed_or_not
def test_stop_sequences(claude, stream):
    message = told(claude, stream=stream, stop_sequences=["xxx"], extra_body=ALWAYS_X)
    assert message.content == []  # the three letters were the sequence itself
    assert message.usage.output_tokens == 3
    assert message.stop_reason == "end_turn"  # llama.cpp says `stop`, not that it was a sequence


@streamed_or_not
def test_a_tool_call_in_its_grammar(claude, stream):
    choice = {"type": "any", "disable_parallel_tool_use": True}
    message = told(
        claude, stream=stream, max_tokens=400, tools=[TOOL], tool_choice=choice, extra_body=ONE_CALL
    )
    (block,) = message.content
    assert (block.type, block.name) == ("tool_use", "look")
    assert block.input["where"] in {"up", "down"}
    assert block.input["far"] in {True, False}
    assert message.stop_reason == "tool_use"
    turns = [
        *ASKED,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "A cat."}]},
    ]
    assert told(claude, stream=stream, messages=turns, tools=[TOOL]).content[0].text


@streamed_or_not
def test_parallel_calls_cut_off_by_max_tokens(claude, stream):
    asked = {"tools": [TOOL], "tool_choice": {"type": "any"}, "extra_body": CALL_AFTER_CALL}
    message = told(claude, stream=stream, max_tokens=400, **asked)
    assert message.stop_reason == "max_tokens"
    *whole, _ = message.content
    assert len(whole) > 1
    assert [block.input.keys() for block in whole] == [{"where", "far"}] * len(whole)
    assert len({block.id for block in message.content}) == len(message.content)


@streamed_or_not
def test_structured_output(claude, stream):
    wanted = {"format": {"type": "json_schema", "schema": SCHEMA}}
    message = told(claude, stream=stream, max_tokens=400, output_config=wanted)
    found = json.loads(message.content[0].text)
    assert found.keys() == {"where", "far"}
    assert message.stop_reason == "end_turn"


@streamed_or_not
def test_context_overflow_is_what_claude_code_knows(claude, stream):
    long = [{"role": "user", "content": "word " * CONTEXT}]
    with pytest.raises(anthropic.BadRequestError) as raised:
        told(claude, stream=stream, messages=long)
    error = raised.value.body["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("prompt is too long: ")
    assert error["message"].endswith(f" tokens > {CONTEXT} maximum")


@streamed_or_not
def test_reasoning_is_thinking(thinker, stream):
    asked = {"max_tokens": 1100, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    message = told(thinker, stream=stream, **asked)
    thinking, text = message.content
    assert (thinking.type, text.type) == ("thinking", "text")
    assert thinking.thinking.isalpha()
    assert len(thinking.thinking) < 25
    assert text.text.isalpha()
    turns = [*ASKED, {"role": "assistant", "content": message.content}, *ASKED]
    again = told(thinker, stream=stream, messages=turns, **asked)
    assert [block.type for block in again.content] == ["thinking", "text"]


@streamed_or_not
def test_an_image_for_a_model_that_sees_none(claude, stream):
    """llama.cpp answers 500; asked again and again, the backend would cool down for everybody."""
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    with pytest.raises(anthropic.BadRequestError, match="image input is not supported"):
        told(
            claude,
            stream=stream,
            messages=[{"role": "user", "content": [{"type": "image", "source": source}]}],
        )


@streamed_or_not
def test_context_that_ends_before_max_tokens(claude, stream):
    """The rest of the context is filled, and no error comes in mid-stream."""
    long = [{"role": "user", "content": "x" * (CONTEXT - 200)}]
    message = told(claude, stream=stream, max_tokens=1000, messages=long)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == len(message.content[0].text) < 200


def test_parameters_reach_it(claude, llama):
    more = {"min_p": 0.25, "seed": 5, "frequency_penalty": 0.5}
    more |= {"temperature": 0.5, "top_p": 0.75, "top_k": 3}  # which the SDK no longer knows
    told(claude, stream=False, extra_body=more)
    (slot,) = llama.get("/slots")
    wanted = {"max_tokens": 30, **more}
    assert {name: slot["params"][name] for name in wanted} == wanted


def test_a_client_that_leaves_frees_the_slot(gateway, llama):
    before = llama.predicted()
    asked = {"model": "tiny", "max_tokens": 12_000, "messages": ASKED, "stream": True}
    with httpx.stream("POST", f"{gateway.url}/v1/messages", json=asked) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()  # its end would be the connection's
        assert next(lines) == "event: message_start"
        llama.wait_until(busy=True)
    llama.wait_until(busy=False)
    assert llama.predicted() - before < 12_000


def test_models_and_token_counts(claude, llama):
    assert [model.id for model in claude.models.list()] == ["big", "small", "tiny"]
    counted = claude.messages.count_tokens(model="tiny", messages=ASKED, system="Be brief.")
    assert counted.input_tokens > 0


@streamed_or_not
def test_openais_sdk(gpt, stream):
    asked = {"model": "tiny", "max_tokens": 30, "messages": ASKED}
    if stream:
        chunks = list(
            gpt.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        )
        text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
        finish = [one.choices[0].finish_reason for one in chunks if one.choices][-1]
        usage = chunks[-1].usage
    else:
        answer = gpt.chat.completions.create(**asked)
        text, finish, usage = answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage
    assert len(text) == 30
    assert finish == "length"
    assert (usage.completion_tokens, usage.total_tokens) == (30, usage.prompt_tokens + 30)


@streamed_or_not
def test_openais_sdk_calls_a_tool(gpt, stream):
    asked = {
        "model": "tiny",
        "max_tokens": 400,
        "messages": ASKED,
        "tools": [FUNCTION],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        **ONE_CALL,
    }
    if stream:
        with gpt.chat.completions.stream(**asked) as answer:
            choice = answer.get_final_completion().choices[0]
    else:
        choice = gpt.chat.completions.create(**asked).choices[0]
    (call,) = choice.message.tool_calls
    assert call.function.name == "look"
    assert json.loads(call.function.arguments).keys() == {"where", "far"}
    assert choice.finish_reason == "tool_calls"


def test_openais_sdk_is_told_of_an_overflow(gpt):
    with pytest.raises(openai.BadRequestError) as raised:
        gpt.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "word " * CONTEXT}])
    assert raised.value.code == "context_length_exceeded"
