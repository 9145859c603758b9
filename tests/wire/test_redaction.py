"""What a redacted request keeps, what not, and that it can be sent when it is filled."""

from __future__ import annotations

import orjson
import pytest

from wire.check import check_request
from wire.openai_check import check_openai
from wire.redaction import filled, mark, redacted

SECRET = "the secret words"
TOOL = {
    "name": "look_up",
    "description": SECRET,
    "input_schema": {
        "type": "object",
        "title": SECRET,
        "properties": {
            "description": {"type": "string", "description": SECRET, "enum": [SECRET, "other"]},
            "count": {"type": ["integer", "null"], "default": 4111, "minimum": 1},
        },
        "required": ["description"],
        "anyOf": [{"const": SECRET}, {"title": SECRET}],
        "x-notes": [SECRET],
        "additionalProperties": False,
    },
}
ASK = {
    "model": "anthropic/claude-sonnet-4",
    "max_tokens": 100,
    "temperature": 0.5,
    "stream": True,
    "system": [{"type": "text", "text": SECRET, "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
    "stop_sequences": ["END", SECRET],
    "metadata": {"user_id": SECRET, "number": 4111, "yes": True, "no": None, "several": [SECRET]},
    "tools": [TOOL],
    "tool_choice": {"type": "tool", "name": "look_up"},
    "messages": [
        {"role": "user", "content": f"{SECRET}\nin\nlines"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": SECRET, "signature": "c2lnbmVk" * 30},
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "look_up",
                    "input": {"name": SECRET, "n": 4111},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": SECRET, "is_error": False},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/jpeg", "data": "c2VjcmV0" * 30},
                },
                {"type": "image", "source": {"type": "url", "url": "https://example.com/the secret"}},
                {"type": "text", "text": ""},
            ],
        },
        {"role": "assistant", "content": [{"type": "thinking", "thinking": SECRET, "signature": SECRET}]},
        {"role": "user", "content": SECRET},
    ],
}
CHAT = {
    "model": "openai/gpt-5",
    "user": SECRET,
    "stop": SECRET,
    "reasoning": {"effort": "low"},
    "messages": [
        {"role": "user", "name": "Ada", "content": [{"type": "text", "text": SECRET}]},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,c2VjcmV0", "detail": "low"}}
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_details": [{"type": "reasoning.text", "text": SECRET}],
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "f", "arguments": f'{{"a": "{SECRET}"}}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": SECRET},
    ],
}


@pytest.mark.parametrize("body", [ASK, CHAT], ids=["messages", "chat"])
def test_nothing_that_was_said_is_left(body):
    told = orjson.dumps(redacted(body)).decode()
    for piece in ("secret", "c2VjcmV0", "c2lnbmVk", "4111", "Ada", "words"):
        assert piece not in told, told


def test_structure_names_and_parameters_stay():
    told = redacted(ASK)
    assert [one["role"] for one in told["messages"]] == [one["role"] for one in ASK["messages"]]
    for name in ("model", "max_tokens", "temperature", "stream", "tool_choice"):
        assert told[name] == ASK[name]
    assert told["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    assert told["system"][0]["text"] == mark(SECRET) == "[16 characters, 1 lines]"
    assert told["stop_sequences"] == ["END"]
    use = told["messages"][1]["content"][1]
    assert use == {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "look_up",
        "input": {"name": mark(SECRET), "n": 0},
    }
    schema = told["tools"][0]["input_schema"]
    assert schema["properties"]["description"] == {"type": "string", "description": mark(SECRET)}
    assert schema["properties"]["count"] == {"type": ["integer", "null"], "minimum": 1}
    assert schema["required"] == ["description"]
    assert told["metadata"] == {
        "user_id": mark(SECRET), "number": 0, "yes": True, "no": None, "several": [mark(SECRET)]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "check"), [(ASK, check_request), (CHAT, check_openai)], ids=["messages", "chat"]
)
def test_a_filled_request_can_be_sent(body, check):
    made = filled(redacted(body))
    check(made)
    assert "characters" not in orjson.dumps(made).decode()


def test_filler_has_the_length_and_the_lines_of_what_was_there():
    text = "a line\n" * 40 + "the end"
    made = filled(redacted({"content": text}))["content"]
    assert (len(made), made.count("\n")) == (len(text), 40)
    assert made == made.strip()
    assert filled(mark("x")) == "."
    assert filled("plain") == "plain"


def test_what_is_bound_to_the_text_is_left_out():
    made = filled(redacted(ASK))
    assert [one["type"] for one in made["messages"][1]["content"]] == ["tool_use"]
    assert made["messages"][3]["content"] == [{"type": "text", "text": "Filler."}]
    assert made["messages"][2]["content"][1]["source"]["media_type"] == "image/png"
    assert made["messages"][2]["content"][2]["source"]["type"] == "base64"
    chat = filled(redacted(CHAT))
    assert chat["messages"][1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert chat["messages"][2]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


def test_odd_bodies_are_redacted_too():
    assert redacted(["two words", 3, None]) == [mark("two words"), 3, None]
    assert redacted({"two words": 1, "type": "two words", "name": ["x y"]}) == {
        mark("two words"): 1, "type": mark("two words"), "name": [mark("x y")],
    }  # fmt: skip
    assert redacted({"input_schema": "x y", "parameters": {"type": "x y", "required": 3}}) == {
        "input_schema": mark("x y"), "parameters": {"type": mark("x y"), "required": 3},
    }  # fmt: skip
