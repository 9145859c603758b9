"""LiteLLM's arguments from chat requests, and chat chunks from LiteLLM's."""

from __future__ import annotations

import pytest

from wire.chat_request import to_chat
from wire.errors import UnsupportedContent
from wire.litellm_chat import call_arguments, chat_chunk, chat_completion
from wire.litellm_dialects import PROVIDER_DIALECTS
from wire.provider_names import PRIORITY

MESSAGES = [{"role": "user", "content": "Hello"}]
BASIC = {"max_tokens", "stop", "temperature", "tool_choice", "tools", "top_p", "parallel_tool_calls"}
THINKS = BASIC | {"thinking", "reasoning_effort"}
TRIES = BASIC | {"reasoning_effort"}


def arguments(to, supported=BASIC, **chat):
    given = call_arguments({"model": "m", "messages": MESSAGES, **chat}, to, frozenset(supported))
    return {name: value for name, value in given.items() if name != "messages"}


@pytest.mark.parametrize(
    ("provider", "supported", "chat", "expected"),
    [
        ("anthropic", BASIC, {"stream": True, "stream_options": {}, "usage": {}, "top_p": 1}, {"top_p": 1}),
        ("anthropic", BASIC | {"user"}, {"user": "u"}, {"user": "u"}),
        ("gemini", BASIC, {"user": "u", "service_tier": "auto", "session_id": "s"}, {}),
        ("anthropic", BASIC, {"top_k": 5}, {"top_k": 5}),
        ("cohere_chat", BASIC, {"top_k": 5}, {"k": 5}),
        ("gemini", BASIC, {"parallel_tool_calls": True}, {"parallel_tool_calls": True}),
        ("cohere_chat", BASIC - {"parallel_tool_calls"}, {"parallel_tool_calls": True}, {}),
        # reasoning
        ("anthropic", THINKS, {"reasoning": {"max_tokens": 2000}},
         {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("openai", TRIES, {"reasoning": {"max_tokens": 20_000}}, {"reasoning_effort": "high"}),
        ("openai", TRIES, {"reasoning": {"max_tokens": 5_000}}, {"reasoning_effort": "medium"}),
        ("openai", TRIES, {"reasoning": {"max_tokens": 0}}, {"reasoning_effort": "low"}),
        ("openai", TRIES, {"reasoning": {"effort": "xhigh"}}, {"reasoning_effort": "high"}),
        ("openai", TRIES, {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ("openai", TRIES, {"reasoning": {"enabled": True}}, {"reasoning_effort": "medium"}),
        ("openai", TRIES, {"reasoning": {"enabled": False}}, {}),
        ("openai", TRIES, {"reasoning": {"effort": "none"}}, {}),
        ("openai", BASIC, {"reasoning": {"effort": "high"}}, {}),
        # OpenRouter is sent everything
        ("openrouter", BASIC, {"max_tokens": 9, "min_p": 0.1, "stream": True},
         {"max_tokens": 9, "extra_body": {"min_p": 0.1}}),
        ("openrouter", BASIC, {"max_tokens": 9}, {"max_tokens": 9}),
    ],
)  # fmt: skip
def test_arguments(provider, supported, chat, expected):
    assert arguments(provider, supported, **chat) == expected


@pytest.mark.parametrize(
    ("provider", "chat", "field"),
    [
        ("openai", {"top_k": 5}, "top_k"),
        ("anthropic", {"min_p": 0.1}, "min_p"),
        ("anthropic", {"provider": {"order": ["x"]}}, "provider"),
        ("anthropic", {"plugins": [{"id": "web"}]}, "plugins"),
        ("anthropic", {"seed": 7}, "seed"),
        ("cohere_chat", {"response_format": {"type": "json_object"}}, "response_format"),
        ("mistral", {"field_of_tomorrow": 1}, "field_of_tomorrow"),
    ],
)
def test_what_has_no_form_is_refused_by_name(provider, chat, field):
    with pytest.raises(UnsupportedContent, match=f"^{field}: "):
        arguments(provider, **chat)


DETAILS = [
    {"type": "reasoning.text", "text": "Hm.", "signature": "s", "index": 0},
    {"type": "reasoning.text", "text": "unsigned"},
    {"type": "reasoning.encrypted", "data": "d"},
    {"type": "reasoning.text", "signature": "alone"},
]


@pytest.mark.parametrize(
    ("provider", "blocks"),
    [
        ("anthropic", [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "thinking", "thinking": "", "signature": "alone"},
        ]),
        ("gemini", None),
    ],
)  # fmt: skip
def test_earlier_thinking_goes_back_where_it_is_signed(provider, blocks):
    messages = [*MESSAGES, {"role": "assistant", "content": "So.", "reasoning_details": DETAILS}]
    given = call_arguments({"messages": messages}, provider, frozenset())["messages"]
    assert given[0] == MESSAGES[0]
    assert given[1].get("thinking_blocks") == blocks
    assert "reasoning_details" not in given[1]
    assert "reasoning_details" in messages[1]


@pytest.mark.parametrize(
    ("provider", "url", "refused"),
    [
        ("gemini", "https://example.org/a.png", True),
        ("bedrock", "HTTP://example.org/a.png", True),
        ("anthropic", "http://example.org/a.png", True),
        ("anthropic", "https://example.org/a.png", False),
        ("openai", "https://example.org/a.png", False),
        ("gemini", "data:image/png;base64,AAAA", False),
    ],
)
@pytest.mark.parametrize("form", [lambda url: {"url": url}, lambda url: url])
def test_images_that_litellm_would_fetch_are_refused(provider, url, refused, form):
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": form(url)}]
    chat = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]}
    if refused:
        with pytest.raises(UnsupportedContent, match=r"^messages\.1\.content\.1: "):
            call_arguments(chat, provider, frozenset())
    else:
        assert call_arguments(chat, provider, frozenset())["messages"][1]["content"] == parts


def chunk(delta, **more):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta}],
        **more,
    }


@pytest.mark.parametrize(
    ("provider", "delta", "told"),
    [
        ("gemini", {"content": "Hi", "role": "assistant"}, {"content": "Hi", "role": "assistant"}),
        ("gemini", {"reasoning_content": "Hm."}, {"reasoning_content": "Hm."}),
        ("anthropic", {"content": "", "reasoning_content": "Hm.",
                       "thinking_blocks": [{"type": "thinking", "thinking": "Hm."}],
                       "provider_specific_fields": {"thinking_blocks": [1]}},
         {"content": "", "reasoning": "Hm.",
          "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}),
        ("anthropic", {"thinking_blocks": [{"type": "thinking", "thinking": None, "signature": "s"}]},
         {"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "s"}]}),
        ("bedrock", {"thinking_blocks": [{"type": "redacted_thinking", "data": "d"}]},
         {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}]}),
        ("mistral", {"reasoning_content": "Hm.",
                     "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "mistral"}]},
         {"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}),
        ("gemini", {"content": "x",
                    "provider_specific_fields": {"citations": [1], "thought_signatures": ["s"]}},
         {"content": "x", "provider_specific_fields": {"citations": [1]}}),
    ],
)  # fmt: skip
def test_deltas(provider, delta, told):
    assert chat_chunk(chunk(delta), provider)["choices"][0]["delta"] == told


def test_what_litellm_makes_up_is_left_out():
    usage = {"prompt_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 3}}
    made_up = chat_chunk(chunk({}, usage=usage, provider_specific_fields={}), "anthropic")
    assert "id" not in made_up
    assert "provider_specific_fields" not in made_up
    assert made_up["usage"] == {"prompt_tokens": 5}
    real = chat_chunk(chunk({}, usage=usage), "gemini")
    assert real["id"] == "chatcmpl-1"
    assert real["usage"] == usage


def test_a_chunk_without_choices_has_an_empty_list():
    assert chat_chunk({"id": "1", "choices": None}, "gemini")["choices"] == []
    assert chat_chunk({"choices": [{"index": 0, "delta": None}]}, "gemini")["choices"] == [
        {"index": 0, "delta": {}}
    ]


def test_a_whole_completion_is_told_alike():
    message = {
        "role": "assistant",
        "content": "Hi",
        "thinking_blocks": [{"type": "thinking", "thinking": "Hm."}],
    }
    told = chat_completion({"id": "c", "choices": [{"finish_reason": "stop", "message": message}]}, "gemini")
    assert told["choices"][0]["finish_reason"] == "stop"
    assert told["choices"][0]["message"]["reasoning_details"] == [{"type": "reasoning.text", "text": "Hm."}]


@pytest.mark.parametrize("provider", PRIORITY)
def test_each_dialect_leaves_every_field_to_the_tables_here(provider):
    body = {"messages": MESSAGES, "max_tokens": 9, "min_p": 0.1, "top_k": 5, "thinking": {"type": "adaptive"}}
    chat, _ = to_chat(body, model="m", dialect=PROVIDER_DIALECTS[provider])
    assert {"max_tokens", "min_p", "top_k", "reasoning"} <= chat.keys()


def test_a_client_says_nothing_about_how_litellm_calls() -> None:
    told = {"extra_headers": {"authorization": "Bearer mine"}, "max_retries": 9, "api_version": "1"}
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "seed": 1, **told}
    supported = frozenset({"seed", "extra_headers", "max_retries", "stream"})
    arguments = call_arguments(chat, "openrouter", supported)
    assert arguments == {"messages": chat["messages"], "seed": 1, "extra_body": told}
