"""Requests of Gemini's clients as Anthropic's."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from google.genai import types

from tests.wire.gemini_answers import call_part, sent_by_sdk
from tests.wire.requests import PDF, PNG
from wire.check import check_request
from wire.errors import GatewayError, InvalidRequest
from wire.gemini_client import from_gemini, json_schema
from wire.openai_request import JSON_ONLY, MOST_TOKENS
from wire.signature import pack_details

MODEL = "gemini-3-pro"
THOUGHT = {"type": "reasoning.text", "text": "Hm.", "format": "google-gemini-v1"}
SIGNED = {"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1"}
READ = {"name": "Read", "parametersJsonSchema": {"type": "object"}}


def thinking(*details: dict[str, Any]) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": pack_details(list(details), MODEL)}


def anthropic(given: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(given)
    made = from_gemini(given, model=MODEL)
    assert given == before
    check_request(made)
    return made


def asked(**fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **fields}


def turns(*contents: tuple[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = anthropic(
        {"contents": [{"role": role, "parts": parts} for role, parts in contents]}
    )["messages"]
    return made


def test_what_the_sdk_sends() -> None:
    def weather(city: str) -> str:
        """Tell the weather."""
        raise AssertionError

    schema = types.Schema(type=types.Type.OBJECT, properties={"n": types.Schema(type=types.Type.INTEGER)})
    given = sent_by_sdk(
        MODEL,
        [
            types.Content(
                role="user",
                parts=[
                    types.Part.from_text(text="hi"),
                    types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png"),
                ],
            ),
            types.Content(
                role="model",
                parts=[
                    types.Part(
                        function_call=types.FunctionCall(id="c1", name="weather", args={"city": "Bern"}),
                        thought_signature=b"\xfb\xff\xfe",
                    ),
                ],
            ),
            types.Content(
                role="user",
                parts=[
                    types.Part(
                        function_response=types.FunctionResponse(
                            id="c1", name="weather", response={"output": "rain"}
                        )
                    ),
                ],
            ),
        ],
        system_instruction="Be brief.",
        temperature=1.5,
        max_output_tokens=100,
        stop_sequences=["END"],
        response_mime_type="application/json",
        response_schema=schema,
        thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
        tools=[
            types.Tool(
                function_declarations=[
                    types.FunctionDeclaration(
                        name="weather", description="Tells.", parameters=types.Schema(type=types.Type.OBJECT)
                    )
                ]
            )
        ],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
        ),
    )
    made = anthropic(given)
    signature = pack_details([SIGNED | {"data": "+//+", "id": "c1"}], MODEL)
    assert made == {
        "model": MODEL,
        "max_tokens": 100,
        "system": "Be brief.",
        "temperature": 1,
        "stop_sequences": ["END"],
        "thinking": {"type": "adaptive"},
        "output_config": {
            "effort": "low",
            "format": {
                "type": "json_schema",
                "schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
            },
        },
        "tools": [{"name": "weather", "description": "Tells.", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any"},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "redacted_thinking", "data": signature},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bern"}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "rain"}],
            },
        ],
    }


@pytest.mark.parametrize(
    ("given", "block"),
    [
        (
            {"inlineData": {"mimeType": "application/pdf", "data": PDF, "displayName": "A"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                "title": "A",
            },
        ),
        (
            {"inlineData": {"mimeType": "text/csv", "data": base64.b64encode(b"a,b").decode()}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}},
        ),
        (
            {"fileData": {"fileUri": "https://a/b.pdf"}},
            {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}},
        ),
        (
            {"fileData": {"fileUri": "https://a/b"}},
            {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
        ),
        (
            {"fileData": {"fileUri": "https://a/b", "mimeType": "image/png"}, "videoMetadata": {}},
            {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
        ),
    ],
)
def test_parts_of_a_client(given: dict[str, Any], block: dict[str, Any]) -> None:
    assert turns(("user", [given, {"text": ""}]))[0]["content"] == [block]


def test_calls_without_ids_are_answered_by_name() -> None:
    answers = [
        {"functionResponse": {"name": "list", "response": {"entries": []}}},
        {"functionResponse": {"name": "read", "response": {"error": "no"}}},
        {
            "functionResponse": {
                "name": "read",
                "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
            }
        },
    ]
    made = turns(
        ("user", [{"text": "a"}]),
        ("model", [call_part("read", None, n=1), call_part("list", None), call_part("read", None)]),
        ("function", [*answers, {"text": "there"}]),
    )
    assert [block["id"] for block in made[1]["content"]] == ["call_1", "call_2", "call_3"]
    assert made[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_2", "content": '{"entries":[]}'},
        {"type": "tool_result", "tool_use_id": "call_1", "content": "no", "is_error": True},
        {
            "type": "tool_result",
            "tool_use_id": "call_3",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
            ],
        },
        {"type": "text", "text": "there"},
    ]


def test_a_function_may_answer_nothing() -> None:
    made = turns(
        ("user", [{"text": "a"}]),
        ("model", [call_part()]),
        ("user", [{"functionResponse": {"id": "call_1", "response": {"result": "r"}}}]),
        ("model", [call_part()]),
        ("user", [{"functionResponse": {"id": "call_1"}}]),
    )
    assert made[2]["content"] == [{"type": "tool_result", "tool_use_id": "call_1", "content": "r"}]
    assert made[4]["content"] == [{"type": "tool_result", "tool_use_id": "call_1"}]


def test_thoughts_of_geminis_own_travel_in_a_signature_of_ours() -> None:
    made = turns(
        ("user", [{"text": "a"}]),
        ("model", [{"text": "Hm.", "thought": True}, {"text": "b", "thoughtSignature": "c2ln"}]),
        ("user", [{"text": "a"}]),
        ("model", [{"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"}, {"text": "b"}]),
    )
    assert made[1]["content"] == [thinking(THOUGHT, SIGNED), {"type": "text", "text": "b"}]
    assert made[3]["content"][0] == thinking(THOUGHT | {"signature": "c2ln"})


@pytest.mark.parametrize(
    ("details", "block"),
    [
        (
            [{"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1"}],
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        ),
        (
            [{"type": "reasoning.encrypted", "data": "xyz", "format": "anthropic-claude-v1"}],
            {"type": "redacted_thinking", "data": "xyz"},
        ),
        ([THOUGHT], thinking(THOUGHT)),
    ],
)
def test_what_was_sealed_here_is_restored(details: list[dict[str, Any]], block: dict[str, Any]) -> None:
    signature = pack_details(details, MODEL)
    given = signature.replace("+", "-").replace("/", "_")
    thought = {"text": "Hm.", "thought": True}
    made = turns(
        ("user", [{"text": "a"}]),
        ("model", [thought, {"text": "", "thought": True, "thoughtSignature": given}]),
    )
    assert made[1]["content"] == [block]


def test_a_sealed_block_without_text_is_redacted() -> None:
    signature = pack_details([SIGNED], MODEL)
    made = turns(("user", [{"text": "a"}]), ("model", [{"thought": True, "thoughtSignature": signature}]))
    assert made[1]["content"] == [{"type": "redacted_thinking", "data": signature}]


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({}, {}),
        ({"systemInstruction": "Be brief."}, {"system": "Be brief."}),
        ({"systemInstruction": ""}, {}),
        (
            {"systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}, {"text": ""}]}},
            {"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ),
        (
            {"tools": [{"googleSearch": {}}]},
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        ),
        (
            {"tools": [{"functionDeclarations": [READ]}]},
            {"tools": [{"name": "Read", "input_schema": {"type": "object"}}]},
        ),
        ({"generationConfig": {"responseMimeType": "application/json"}}, {"system": JSON_ONLY}),
        ({"generationConfig": {"topK": 40.0, "topP": 1, "seed": 3}}, {"top_k": 40, "top_p": 1, "seed": 3}),
        (
            {
                "generationConfig": {
                    "frequencyPenalty": 1,
                    "presencePenalty": -1,
                    "responseModalities": ["TEXT"],
                }
            },
            {"frequency_penalty": 1, "presence_penalty": -1},
        ),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, {"thinking": {"type": "disabled"}}),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1, "includeThoughts": False}}},
            {"thinking": {"type": "adaptive", "display": "omitted"}},
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}}},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        ({"safetySettings": [{"category": "x"}]}, {"safety_settings": [{"category": "x"}]}),
    ],
)
def test_fields_of_a_client(fields: dict[str, Any], made: dict[str, Any]) -> None:
    least = {"model": MODEL, "max_tokens": MOST_TOKENS, "messages": [{"role": "user", "content": "hi"}]}
    assert anthropic(asked(**fields)) == least | made


@pytest.mark.parametrize(
    ("calling", "choice", "names"),
    [
        ({"mode": "AUTO"}, None, ["a", "b"]),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["b"]}, None, ["b"]),
        ({"mode": "ANY"}, {"type": "any"}, ["a", "b"]),
        ({"mode": "ANY", "allowedFunctionNames": ["a", "b"]}, {"type": "any"}, ["a", "b"]),
        ({"mode": "ANY", "allowedFunctionNames": ["b"]}, {"type": "tool", "name": "b"}, ["a", "b"]),
        ({"mode": "NONE"}, {"type": "none"}, ["a", "b"]),
    ],
)
def test_choices_of_a_client(calling: dict[str, Any], choice: Any, names: list[str]) -> None:
    tools = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
    made = anthropic(asked(tools=tools, toolConfig={"functionCallingConfig": calling}))
    assert made.get("tool_choice") == choice
    assert [one["name"] for one in made["tools"]] == names


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "contents: must be a list"),
        ({"contents": []}, "contents: at least one content is required"),
        ({"contents": [{"role": "tool"}]}, "contents.0.role: must be user or model"),
        ({"contents": [{"parts": [5]}]}, "contents.0.parts.0: must be an object"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents.0.parts.0.text: must be a string"),
        (
            {"contents": [{"parts": [{"executableCode": {}}]}]},
            "contents.0.parts.0.executableCode: has no form",
        ),
        ({"contents": [{"parts": [{"inlineData": {}}]}]}, "contents.0.parts.0.inlineData.mimeType: must be"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "x"}}]}]},
            "contents.0.parts.0.inlineData.mimeType: 'audio/wav' has no form",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "x"}}]}]},
            "contents.0.parts.0.inlineData.data: not valid base64",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "text/plain", "data": "x"}}]}]},
            "contents.0.parts.0.inlineData.data: not valid base64",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "text/plain", "data": "/w=="}}]}]},
            "contents.0.parts.0.inlineData.data: the text is not UTF-8",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "gs://a"}}]}]},
            "contents.0.parts.0.fileData.fileUri: files on Google's servers",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "https://a/b.mp4"}}]}]},
            "contents.0.parts.0.fileData.mimeType: 'video/mp4' has no form",
        ),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "x"}}]}]},
            "contents.0.parts.0: answers no functionCall",
        ),
        (
            {"contents": [{"role": "model", "parts": [call_part("")]}]},
            "contents.0.parts.0.functionCall.name: must not be empty",
        ),
        (asked(cachedContent="x"), "cachedContent: what is kept"),
        (asked(tools=[{"codeExecution": {}}]), "tools.0.codeExecution: is Google's own tool"),
        (
            asked(tools=[{"functionDeclarations": [{"name": ""}]}]),
            "tools.0.functionDeclarations.0.name: must",
        ),
        (asked(tools=[{"functionDeclarations": [READ, READ]}]), "tools: tool names must be unique"),
        (
            asked(tools=[{"functionDeclarations": [{"name": "a", "parameters": {"type": "ARRAY"}}]}]),
            "tools.0.functionDeclarations.0.parameters.type: must be 'object'",
        ),
        (
            asked(toolConfig={"functionCallingConfig": {"mode": "MAYBE"}}),
            "toolConfig.functionCallingConfig.mode",
        ),
        (asked(generationConfig={"candidateCount": 2}), "generationConfig.candidateCount: a Message is one"),
        (
            asked(generationConfig={"responseLogprobs": True}),
            "generationConfig.responseLogprobs: has no form",
        ),
        (asked(generationConfig={"responseModalities": ["AUDIO"]}), "generationConfig.responseModalities.0"),
        (
            asked(generationConfig={"maxOutputTokens": 0}),
            "generationConfig.maxOutputTokens: must be at least",
        ),
        (asked(generationConfig={"temperature": "x"}), "generationConfig.temperature: must be a number"),
        (asked(generationConfig={"seed": 2**40}), "generationConfig.seed: must be between"),
        (
            asked(generationConfig={"stopSequences": ["\n"]}),
            "generationConfig.stopSequences.0: Anthropic takes",
        ),
        (
            asked(generationConfig={"responseJsonSchema": {"type": 5}}),
            "generationConfig.responseJsonSchema.type: not a valid JSON schema",
        ),
    ],
)
def test_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(GatewayError) as raised:
        from_gemini(given, model=MODEL)
    assert isinstance(raised.value, InvalidRequest)
    assert raised.value.message.startswith(told)


def test_an_openapi_schema_is_a_json_schema() -> None:
    given = {
        "type": "OBJECT",
        "nullable": False,
        "propertyOrdering": ["nullable"],
        "required": ["nullable"],
        "properties": {
            "nullable": {"type": "ARRAY", "minItems": "1", "items": {"type": "STRING", "nullable": True}},
            "type": {"anyOf": [{"type": "NUMBER", "maximum": 5}], "enum": ["A"]},
        },
    }
    assert json_schema(given) == {
        "type": "object",
        "required": ["nullable"],
        "properties": {
            "nullable": {"type": "array", "minItems": 1, "items": {"type": ["string", "null"]}},
            "type": {"anyOf": [{"type": "number", "maximum": 5}], "enum": ["A"]},
        },
    }
