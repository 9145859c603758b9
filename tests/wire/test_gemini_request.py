"""Anthropic's requests as Gemini's."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.wire.gemini_answers import call_part, checked_request
from tests.wire.requests import (
    PDF,
    PNG,
    assistant,
    call,
    document,
    image,
    pdf,
    request,
    result,
    system,
    tool,
    user,
)
from wire.check import check_request
from wire.errors import UnsupportedContent
from wire.gemini_request import to_gemini
from wire.signature import pack_details

MODEL = "gemini-3-pro"
THOUGHT = {"type": "reasoning.text", "text": "Hm.", "format": "google-gemini-v1"}
SIGNED = {"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1"}
READ = {"name": "Read", "parametersJsonSchema": {"type": "object"}}


def gemini(body: dict[str, Any], model: str = MODEL) -> dict[str, Any]:
    check_request(body)
    before = copy.deepcopy(body)
    made, _ = to_gemini(body, model=model)
    assert body == before
    checked_request(made)
    return made


def contents(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = gemini(request(*messages))["contents"]
    return made


def thinking(*details: dict[str, Any]) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": pack_details(list(details), MODEL)}


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ("hi", [{"text": "hi"}]),
        (image(), [{"inlineData": {"mimeType": "image/png", "data": PNG}}]),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a/b.png?x=1"}},
            [{"fileData": {"fileUri": "https://a/b.png?x=1", "mimeType": "image/png"}}],
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
            [{"fileData": {"fileUri": "https://a/b"}}],
        ),
        (
            pdf(),
            [{"inlineData": {"mimeType": "application/pdf", "data": PDF, "displayName": "document.pdf"}}],
        ),
        (
            document({"type": "url", "url": "https://a/b"}),
            [{"fileData": {"fileUri": "https://a/b", "mimeType": "application/pdf"}}],
        ),
    ],
)
def test_parts(block: Any, parts: list[dict[str, Any]]) -> None:
    made = contents(user(block, "go"))
    assert made == [{"role": "user", "parts": [*parts, {"text": "go"}]}]


def test_turns_alternate_and_results_follow_their_calls() -> None:
    made = contents(
        user("a"),
        user("b"),
        assistant("Both.", call("1", n=1), call("2", "Write")),
        user("and now", result("2", "two", is_error=True), result("1", "one")),
        system("In verse."),
    )
    assert made == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {
            "role": "model",
            "parts": [{"text": "Both."}, call_part("Read", "1", n=1), call_part("Write", "2")],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "1", "name": "Read", "response": {"output": "one"}}},
                {"functionResponse": {"id": "2", "name": "Write", "response": {"error": "two"}}},
                {"text": "and now"},
                {"text": "<system>\nIn verse.\n</system>"},
            ],
        },
    ]


def test_a_marked_result_is_text() -> None:
    marked = result("1", {"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}})
    made = contents(user("a"), assistant(call("1")), user(marked))
    assert made[2]["parts"][0]["functionResponse"]["response"] == {"output": "one"}


def test_signatures_return_to_the_parts_that_they_were_on() -> None:
    made = contents(
        user("a"),
        assistant(thinking(THOUGHT | {"signature": "dGhv"}, SIGNED | {"id": "1"}), call("1")),
        user(result("1", "one")),
        assistant(thinking(THOUGHT, SIGNED), "Done."),
        user("b"),
        assistant({"type": "redacted_thinking", "data": pack_details([SIGNED], MODEL)}),
        user("c"),
        assistant(thinking({"type": "of another kind"}), "x"),
    )
    assert made[1]["parts"] == [
        {"text": "Hm.", "thought": True, "thoughtSignature": "dGhv"},
        call_part("Read", "1") | {"thoughtSignature": "c2ln"},
    ]
    assert made[3]["parts"] == [
        {"text": "Hm.", "thought": True},
        {"text": "Done.", "thoughtSignature": "c2ln"},
    ]
    assert made[5]["parts"] == [{"text": "", "thoughtSignature": "c2ln"}]
    assert made[7]["parts"] == [{"text": "x"}]


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({"system": "Be brief."}, {"systemInstruction": {"parts": [{"text": "Be brief."}]}}),
        (
            {"tools": [tool("Read", description="Reads.")]},
            {"tools": [{"functionDeclarations": [{**READ, "description": "Reads."}]}]},
        ),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            {"tools": [{"googleSearch": {}}]},
        ),
        (
            {"tools": [tool("Read")], "tool_choice": {"type": "any"}},
            {
                "tools": [{"functionDeclarations": [READ]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
            },
        ),
        (
            {"tools": [tool("Read")], "tool_choice": {"type": "none"}},
            {
                "tools": [{"functionDeclarations": [READ]}],
                "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
            },
        ),
        (
            {"tools": [tool("Read")], "tool_choice": {"type": "tool", "name": "Read"}},
            {
                "tools": [{"functionDeclarations": [READ]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["Read"]}},
            },
        ),
        (
            {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
            {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
        ),
    ],
)
def test_fields(fields: dict[str, Any], made: dict[str, Any]) -> None:
    assert gemini(request(**fields)) == gemini(request()) | made


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        (
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["a"], "seed": 3},
            {"temperature": 0.5, "topP": 0.9, "topK": 5, "stopSequences": ["a"], "seed": 3},
        ),
        (
            {"frequency_penalty": 1, "presence_penalty": -1},
            {"frequencyPenalty": 1, "presencePenalty": -1},
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        ),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        ({"response_format": {"type": "text"}}, {}),
        ({"thinking": {"type": "adaptive"}}, {"thinkingConfig": {"includeThoughts": True}}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            {"thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}},
        ),
        ({"thinking": {"type": "disabled"}}, {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}),
        (
            {"output_config": {"effort": "max"}},
            {"thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True}},
        ),
        (
            {"reasoning": {"effort": "low", "exclude": True}},
            {"thinkingConfig": {"thinkingLevel": "LOW"}},
        ),
        ({"reasoning_effort": "none"}, {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}),
    ],
)
def test_configuration(fields: dict[str, Any], made: dict[str, Any]) -> None:
    assert gemini(request(**fields))["generationConfig"] == {"maxOutputTokens": 1024, **made}


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        ({"reasoning_effort": "medium"}, {"thinkingBudget": 8192, "includeThoughts": True}),
    ],
)
def test_older_models_know_budgets(fields: dict[str, Any], made: dict[str, Any]) -> None:
    assert gemini(request(**fields), "gemini-2.5-flash")["generationConfig"]["thinkingConfig"] == made


def test_a_limited_web_search_is_refused() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.com"]}
    with pytest.raises(UnsupportedContent, match=r"^plugins\.0: "):
        gemini(request(tools=[search]))


def test_nothing_to_configure() -> None:
    body = request()
    del body["max_tokens"]
    assert to_gemini(body, model=MODEL)[0] == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
