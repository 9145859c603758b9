"""A chat/completions request as a Messages request, field by field."""

from __future__ import annotations

import base64
import copy
from typing import Any, get_type_hints

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from tests.wire.requests import EPHEMERAL, PDF, PNG
from tests.wire.test_openai_check import CALL, CALLS, CALLS_OLD, GOOD, HI, SAYS, TOOL, body, part
from wire.check import check_request
from wire.errors import InvalidRequest, UnsupportedContent
from wire.openai_request import FATES, JSON_ONLY, MOST_TOKENS, from_openai
from wire.signature import pack_details
from wire.unsealing import unsealed

DETAIL = {"type": "reasoning.text", "text": "Hm.", "format": "openai-responses-v1", "index": 0}
SIGNED = {"type": "reasoning.text", "text": "Hm.", "signature": "sig", "format": "anthropic-claude-v1"}
HIDDEN = {"type": "reasoning.encrypted", "data": "xyz", "format": "anthropic-claude-v1"}
USED = {"type": "tool_use", "id": "call_1", "name": "read", "input": {}}
READ = {"name": "read", "input_schema": {"type": "object"}}


def converted(given: dict[str, Any], **options: Any) -> dict[str, Any]:
    before = copy.deepcopy(given)
    made = from_openai(given, **options)
    assert given == before
    check_request(made)
    return made


def messages(*given: dict[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = converted(body(*given))["messages"]
    return made


def user_block(given: dict[str, Any]) -> Any:
    return messages(given)[0]["content"]


def test_every_field_of_the_sdk_has_its_fate() -> None:
    known = set(get_type_hints(CompletionCreateParamsBase)) | {"stream"}
    assert known - FATES.keys() == set()
    assert FATES.keys() - known == set()


def test_the_least() -> None:
    assert converted(body()) == {
        "model": "m",
        "max_tokens": MOST_TOKENS,
        "messages": [{"role": "user", "content": "hi"}],
    }


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"temperature": 0.3}, {"temperature": 0.3}),
        ({"temperature": 1.7}, {"temperature": 1}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
        ({"tools": [TOOL]}, {"tools": [READ]}),
        (
            {"tools": [{"function": {"name": "a"}}]},
            {"tools": [{"name": "a", "input_schema": {"type": "object"}}]},
        ),
        (
            {
                "tools": [
                    {
                        **TOOL,
                        "function": {**TOOL["function"], "description": "R.", "strict": True},
                        "cache_control": EPHEMERAL,
                    }
                ]
            },
            {
                "tools": [
                    {
                        "name": "read",
                        "description": "R.",
                        "input_schema": {"type": "object"},
                        "strict": True,
                        "cache_control": EPHEMERAL,
                    }
                ]
            },
        ),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [READ], "tool_choice": {"type": "any"}}),
        ({"tools": [TOOL], "tool_choice": "none"}, {"tools": [READ], "tool_choice": {"type": "none"}}),
        (
            {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
            {"tools": [READ], "tool_choice": {"type": "none"}},
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "read"}}},
            {"tools": [READ], "tool_choice": {"type": "tool", "name": "read"}},
        ),
        (
            {"tools": [TOOL], "parallel_tool_calls": False},
            {"tools": [READ], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {
                "tools": [TOOL, {"type": "function", "function": {"name": "b"}}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [{"function": {"name": "read"}}]},
                },
            },
            {"tools": [READ], "tool_choice": {"type": "any"}},
        ),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
            },
            {},
        ),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, {}),
        (
            {"functions": [{"name": "read"}]},
            {"tools": [READ], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {"functions": [{"name": "read"}], "function_call": {"name": "read"}},
            {
                "tools": [READ],
                "tool_choice": {"type": "tool", "name": "read", "disable_parallel_tool_use": True},
            },
        ),
        (
            {
                "web_search_options": {
                    "user_location": {"type": "approximate", "approximate": {"city": "Bern"}}
                }
            },
            {
                "tools": [
                    {
                        "type": "web_search_20250305",
                        "name": "web_search",
                        "user_location": {"type": "approximate", "city": "Bern"},
                    }
                ]
            },
        ),
        ({"web_search_options": {}}, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"enabled": False}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"enabled": True}}, {"thinking": {"type": "adaptive"}}),
        (
            {"reasoning": {"max_tokens": 2000, "exclude": True}},
            {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
        ),
        ({"reasoning": {"exclude": True}}, {}),
        (
            {"reasoning_effort": "minimal"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        ),
        (
            {"reasoning_effort": "high", "output_config": {"task_budget": 5}},
            {"thinking": {"type": "adaptive"}, "output_config": {"task_budget": 5, "effort": "high"}},
        ),
        (
            {"reasoning_effort": "high", "thinking": {"type": "disabled"}},
            {"thinking": {"type": "disabled"}},
        ),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"system": JSON_ONLY}),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, {"system": JSON_ONLY}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"type": "object"}},
                }
            },
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
        ({"user": "u", "safety_identifier": "s", "metadata": {"tag": "t"}}, {"metadata": {"user_id": "u"}}),
        ({"safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
        ({"metadata": {"user_id": "t"}}, {"metadata": {"user_id": "t"}}),
        ({"metadata": {"user_id": 5}}, {}),
        ({"service_tier": "flex"}, {"service_tier": "standard_only"}),
        ({"service_tier": "priority"}, {"service_tier": "auto"}),
        ({"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"], "store": True}, {}),
        (
            {"provider": {"only": ["x"]}, "seed": 5, "top_k": 3},
            {"provider": {"only": ["x"]}, "seed": 5, "top_k": 3},
        ),
    ],
)
def test_fields(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert converted(body(**given)) == converted(body()) | made


@pytest.mark.parametrize(
    ("given", "block"),
    [
        (
            part("text", "a", cache_control=EPHEMERAL),
            {"type": "text", "text": "a", "cache_control": EPHEMERAL},
        ),
        (
            part("image_url", {"url": f"data:image/png;base64,{PNG}", "detail": "low"}),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        (
            part("image_url", {"url": "https://a/b.png"}),
            {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
        ),
        (
            part("file", {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                "title": "a.pdf",
            },
        ),
        (
            part("file", {"file_data": PDF}),
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        ),
        (
            part("file", {"file_data": "https://a/b.pdf"}),
            {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}},
        ),
        (
            part("file", {"file_data": "data:text/csv;base64," + base64.b64encode("a,ä".encode()).decode()}),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,ä"}},
        ),
    ],
)
def test_parts(given: dict[str, Any], block: dict[str, Any]) -> None:
    assert user_block(given) == [block]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (HI, "hi"),
        (HI | {"content": ""}, "(no content)"),
        (part("text", ""), "(no content)"),
        (part("refusal", "No."), "No."),
        (HI | {"name": "Ann"}, [{"type": "text", "text": "Ann:"}, {"type": "text", "text": "hi"}]),
    ],
)
def test_plain_text(given: dict[str, Any], said: Any) -> None:
    assert user_block(given) == said


def test_instructions_at_the_head_are_the_system_prompt_and_later_ones_keep_their_place() -> None:
    made = converted(
        body(
            {"role": "developer", "content": "Be brief."},
            {"role": "system", "content": [{"type": "text", "text": "Be kind.", "cache_control": EPHEMERAL}]},
            HI,
            {"role": "system", "content": "Now in verse."},
            {"role": "system", "content": ""},
        )
    )
    assert made["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Be kind.", "cache_control": EPHEMERAL},
    ]
    assert made["messages"][1:] == [{"role": "system", "content": "Now in verse."}]


def test_calls_and_their_results() -> None:
    second = CALL | {"id": "functions.read:2", "function": {"name": "read", "arguments": '{"n":1}'}}
    made = messages(
        HI,
        CALLS | {"tool_calls": [CALL, second], "content": "Reading."},
        {"role": "tool", "tool_call_id": "functions.read:2", "content": [{"type": "text", "text": "two"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": ""},
        HI,
    )
    assert made[1]["content"] == [
        {"type": "text", "text": "Reading."},
        USED,
        {"type": "tool_use", "id": "functions_read_2", "name": "read", "input": {"n": 1}},
    ]
    assert made[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "functions_read_2", "content": "two"},
        {"type": "tool_result", "tool_use_id": "call_1"},
    ]
    assert made[3] == {"role": "user", "content": "hi"}


def test_functions_as_before_tools() -> None:
    made = messages(HI, CALLS_OLD, {"role": "function", "name": "read", "content": "done"})
    assert made[1]["content"] == [USED]
    assert made[2]["content"] == [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}]


def test_a_refusal_is_what_the_assistant_said() -> None:
    assert messages(HI, {"role": "assistant", "content": None, "refusal": "No."})[1]["content"] == "No."


@pytest.mark.parametrize(
    ("details", "blocks"),
    [
        ([SIGNED], [{"type": "thinking", "thinking": "Hm.", "signature": "sig"}]),
        ([HIDDEN], [{"type": "redacted_thinking", "data": "xyz"}]),
        ([DETAIL], [{"type": "thinking", "thinking": "Hm.", "signature": pack_details([DETAIL], "m")}]),
        (
            [{"type": "reasoning.encrypted", "data": "g", "format": "google-gemini-v1"}, HIDDEN],
            [
                {
                    "type": "redacted_thinking",
                    "data": pack_details(
                        [{"type": "reasoning.encrypted", "data": "g", "format": "google-gemini-v1"}], "m"
                    ),
                },
                {"type": "redacted_thinking", "data": "xyz"},
            ],
        ),
        (
            [{key: value for key, value in SIGNED.items() if key != "text"} | {"text": ""}],
            [{"type": "thinking", "thinking": "", "signature": "sig"}],
        ),
    ],
)
def test_reasoning_goes_back(details: list[dict[str, Any]], blocks: list[dict[str, Any]]) -> None:
    said = messages(HI, SAYS | {"reasoning": "Hm.", "reasoning_details": details})[1]["content"]
    assert said == [*blocks, {"type": "text", "text": "hello"}]


def test_reasoning_that_nobody_signed_is_left_out() -> None:
    assert messages(HI, SAYS | {"reasoning": "Hm."})[1]["content"] == "hello"


def test_anthropics_reasoning_without_its_signature_goes_as_that_of_others() -> None:
    unsigned = {"type": "reasoning.text", "text": "Hm.", "format": "anthropic-claude-v1"}
    said = messages(HI, SAYS | {"reasoning_details": [unsigned]})[1]["content"]
    assert said[0]["signature"] == pack_details([unsigned], "m")


def test_reasoning_too_large_to_travel_is_left_out() -> None:
    large = DETAIL | {"text": "x" * (8 * 1024 * 1024)}
    assert messages(HI, SAYS | {"reasoning_details": [large]})[1]["content"] == "hello"


def test_what_was_sealed_here_is_not_for_anthropics_servers() -> None:
    given = body(
        HI,
        SAYS | {"reasoning_details": [DETAIL, SIGNED]},
        {"role": "assistant", "content": None, "reasoning_details": [DETAIL]},
        {
            "role": "assistant",
            "content": None,
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "g"}],
        },
        {"role": "assistant", "content": None, "reasoning_details": [HIDDEN]},
        {"role": "system", "content": "x"},
    )
    said = [message["content"] for message in unsealed(converted(given), "claude-opus-4-6")["messages"]]
    assert said == [
        "hi",
        [{"type": "thinking", "thinking": "Hm.", "signature": "sig"}, {"type": "text", "text": "hello"}],
        "(no content)",
        "(no content)",
        [{"type": "redacted_thinking", "data": "xyz"}],
        "x",
    ]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (body(n=2), "n"),
        (body(logprobs=True), "logprobs"),
        (body(top_logprobs=2), "top_logprobs"),
        (body(audio={"voice": "x"}), "audio"),
        (body(moderation={"model": "x"}), "moderation"),
        (body(modalities=["text", "audio"]), "modalities.1"),
        (body(stop="\n"), "stop"),
        (body(stop=["a", "\n"]), "stop.1"),
        (body(tools=[{"type": "custom", "custom": {"name": "x"}}]), "tools.0"),
        (body(tools=[TOOL], tool_choice={"type": "custom", "custom": {"name": "x"}}), "tool_choice.type"),
        (body(part("input_audio", {"data": "x", "format": "wav"})), "messages.0.content.0"),
        (body(part("file", {"file_id": "file-1"})), "messages.0.content.0.file.file_id"),
        (
            body(part("file", {"file_data": f"data:image/png;base64,{PNG}"})),
            "messages.0.content.0.file.file_data",
        ),
        (
            body(part("file", {"file_data": "data:application/zip;base64,AAAA"})),
            "messages.0.content.0.file.file_data",
        ),
        (
            body(part("image_url", {"url": "data:image/tiff;base64,AAAA"})),
            "messages.0.content.0.image_url.url",
        ),
        (body(HI, SAYS | {"audio": {"id": "x"}}), "messages.1.audio"),
        (body(HI, SAYS | {"tool_calls": [{"id": "c", "type": "custom"}]}), "messages.1.tool_calls.0"),
    ],
)
def test_what_only_a_chat_backend_can_do(given: dict[str, Any], path: str) -> None:
    with pytest.raises(UnsupportedContent) as raised:
        from_openai(given)
    assert raised.value.message.startswith(f"{path}: ")
    kept: list[UnsupportedContent] = []
    from_openai(given, chat_only=kept)
    assert [error.message for error in kept] == [raised.value.message]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (part("image_url", {"url": "data:image/png,x"}), "image_url.url: must be an address, or a data URL"),
        (part("image_url", {"url": "data:image/png;base64,%"}), "image_url.url: not valid base64"),
        (
            part("image_url", {"url": f"data:image/jpeg;base64,{PNG}"}),
            "image_url.url: the bytes are not image/jpeg",
        ),
        (part("file", {"file_data": "data:;base64,/w=="}), "file.file_data: the text is not UTF-8"),
        (part("file", {"file_data": "data:text/plain;base64,%"}), "file.file_data: not valid base64"),
        (part("file", {"file_data": "xx"}), "file.file_data: not valid base64"),
    ],
)
def test_bad_bytes(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        from_openai(body(given))
    assert raised.value.message.startswith(f"messages.0.content.0.{told}")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_request_is_converted_as_far_as_it_goes(name: str) -> None:
    from_openai(GOOD[name], chat_only=[])
