"""What holds for every Gemini request, and what survives the way from Anthropic's format and back.

The normal form of a conversation is what `from_gemini` makes of `to_gemini`: users and assistants
alternate, results stand first in a message and in the order of their calls, one plain text is a string,
nothing is marked for a cache, no system message comes later than first. What is in normal form comes back
as it was.
"""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.gemini_answers import checked_request, checked_response
from tests.wire.requests import PDF, PNG, tool
from tests.wire.test_gemini_client import asked
from tests.wire.test_openai_answer import message
from tests.wire.test_openai_properties import BLOCKS, TEXT, WORD, simplest
from tests.wire.test_request_properties import JSON, LOOSE, conversations, places
from wire.chat_request import to_chat
from wire.check import check_request, encode_body, parse_body
from wire.errors import GatewayError, InvalidRequest
from wire.gemini_client import from_gemini
from wire.gemini_request import to_gemini
from wire.gemini_stream import ToGeminiStream, fold_responses, to_gemini_response
from wire.openai_request import from_openai
from wire.signature import pack_details
from wire.told import told

MODEL = "gemini-3-pro"
SHOWN = st.sampled_from(
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        {"type": "document", "source": {"type": "url", "url": "https://a/b"}},
    ]
)
RICH: dict[str, Any] = asked(
    systemInstruction={"parts": [{"text": "Be brief."}]},
    tools=[
        {
            "functionDeclarations": [
                {"name": "a", "description": "A.", "parameters": {"type": "OBJECT", "properties": {}}},
                {"name": "b", "parametersJsonSchema": {"type": "object"}},
            ]
        },
        {"google_search": {}},
    ],
    toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a"]}},
    generationConfig={
        "temperature": 0.5,
        "topK": 3.0,
        "maxOutputTokens": 5,
        "stop_sequences": ["x"],
        "responseModalities": ["TEXT"],
        "responseSchema": {"type": "OBJECT", "properties": {"n": {"type": "STRING", "minLength": "1"}}},
        "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": True},
    },
    safetySettings=[{}],
    contents=[
        {"role": "user", "parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
        {
            "role": "model",
            "parts": [
                {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"},
                {"text": "b", "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "1", "name": "a", "args": {"n": 1}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "b"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "1", "name": "a", "response": {"output": "x"}}},
                {"functionResponse": {"name": "b", "response": {"error": "x"}, "parts": [{"text": "y"}]}},
                {"fileData": {"fileUri": "https://a/b.pdf"}},
            ],
        },
    ],
)


def assert_safe(body: dict[str, Any]) -> None:
    """Assert that `body` is converted to a good request or refused with a path, and in no case changed."""
    body = parse_body(orjson.dumps(body))
    before = copy.deepcopy(body)
    error: GatewayError | None = None
    try:
        made = from_gemini(body, model=MODEL)
        check_request(made)
        encode_body(made)
    except GatewayError as refused:
        error = refused
    assert error is None or (error.status == 400 and ": " in error.message)
    assert body == before


def test_the_rich_request_is_good() -> None:
    check_request(from_gemini(RICH, model=MODEL))


@settings(max_examples=300)
@given(st.data())
def test_a_good_request_with_one_thing_wrong_is_refused_or_passes(data: st.DataObject) -> None:
    body = copy.deepcopy(RICH)
    container, key = data.draw(st.sampled_from(places(body)))
    if data.draw(st.booleans()):
        container[key] = data.draw(LOOSE)
    else:
        del container[key]
    assert_safe(body)


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=6))
def test_arbitrary_objects_are_refused_or_pass(body: dict[str, Any]) -> None:
    assert_safe(body)


def test_a_request_too_deep_is_refused() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"type": "OBJECT", "items": deep}
    with pytest.raises(InvalidRequest, match="body: nested too deeply"):
        from_gemini(asked(tools=[{"functionDeclarations": [{"name": "a", "parameters": deep}]}]), model=MODEL)


@st.composite
def normal_conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw conversations in normal form."""
    messages: list[dict[str, Any]] = []
    ids: list[str] = []
    count = 0
    for _ in range(draw(st.integers(1, 4))):
        results: list[dict[str, Any]] = [
            {"type": "tool_result", "tool_use_id": one, "content": draw(WORD)} for one in ids
        ]
        if results and draw(st.booleans()):
            results[0]["is_error"] = True
        shown = draw(st.lists(TEXT | SHOWN, min_size=0 if results else 1, max_size=3))
        messages.append({"role": "user", "content": simplest(results + shown)})
        calls = draw(st.integers(0, 2))
        ids = [f"call_{count + number}" for number in range(calls)]
        count += calls
        text = draw(WORD) if draw(st.booleans()) or not ids else ""
        details = []
        if draw(st.booleans()):
            details.append({"type": "reasoning.text", "text": draw(WORD), "format": "google-gemini-v1"})
        if text and draw(st.booleans()):
            details.append({"type": "reasoning.encrypted", "data": "dGV4", "format": "google-gemini-v1"})
        if ids and draw(st.booleans()):
            signed = {"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1"}
            details.append(signed | {"id": ids[0]})
        said: list[dict[str, Any]] = []
        if details:
            signature = pack_details(details, MODEL)
            shown_text = details[0].get("text")
            said.append(
                {"type": "thinking", "thinking": shown_text, "signature": signature}
                if shown_text
                else {"type": "redacted_thinking", "data": signature}
            )
        said += [{"type": "text", "text": text}] if text else []
        said += [{"type": "tool_use", "id": one, "name": "Read", "input": {"n": 1}} for one in ids]
        messages.append({"role": "assistant", "content": simplest(said)})
    if ids:
        messages.append(
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": one, "content": "done"} for one in ids],
            }
        )
    return messages


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "system": WORD,
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.sampled_from([0.1, 1]),
        "top_k": st.integers(0, 9),
        "seed": st.integers(0, 9),
        "stop_sequences": st.lists(WORD, min_size=1, max_size=2),
        "tool_choice": st.sampled_from([{"type": "any"}, {"type": "none"}, {"type": "tool", "name": "Read"}]),
        "safety_settings": st.just([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
        "output_config": st.just({"format": {"type": "json_schema", "schema": {"type": "object"}}}),
        "thinking": st.sampled_from([{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 2000}]),
    },
)


def there_and_back(body: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(body)
    gemini, names = to_gemini(body, model=MODEL)
    checked_request(gemini)
    back = from_gemini(gemini, model=MODEL)
    assert body == before
    for turn in back["messages"]:
        for block in turn["content"] if isinstance(turn["content"], list) else ():
            if block["type"] == "tool_use":
                block["name"] = names.original(block["name"])
    return back


@settings(max_examples=300)
@given(normal_conversations(), FIELDS)
def test_what_is_in_normal_form_comes_back_as_it_was(
    messages: list[dict[str, Any]], fields: dict[str, Any]
) -> None:
    tools = [tool("Read", {"type": "object", "properties": {"n": {"type": "number"}}}, description="Reads.")]
    body = {"model": MODEL, "max_tokens": 5, "messages": messages, "tools": tools, **fields}
    check_request(body)
    assert there_and_back(body) == body


@settings(max_examples=300)
@given(conversations())
def test_the_normal_form_is_one(messages: list[dict[str, Any]]) -> None:
    body = {"model": MODEL, "max_tokens": 5, "messages": messages}
    once = there_and_back(body)
    check_request(once)
    assert there_and_back(once) == once


@given(normal_conversations())
def test_openai_to_gemini_is_by_way_of_anthropic(messages: list[dict[str, Any]]) -> None:
    body = {"model": MODEL, "max_tokens": 5, "messages": messages}
    chat, _ = to_chat(body, model=MODEL)
    assert to_gemini(from_openai(chat), model=MODEL)[0] == to_gemini(body, model=MODEL)[0]


@given(BLOCKS, st.sampled_from(["end_turn", "max_tokens", "tool_use"]))
def test_an_answer_is_the_same_streamed_and_whole(blocks: list[dict[str, Any]], stop: str) -> None:
    for place, block in enumerate(blocks):
        if block["type"] == "tool_use":
            block["id"] = f"toolu_{place}"
    answer = message(blocks, stop)
    before = copy.deepcopy(answer)
    stream = ToGeminiStream()
    responses = [one for event in told(answer) for one in stream.feed(event)]
    whole = to_gemini_response(answer)
    assert whole == fold_responses(responses)
    assert answer == before
    checked_response(whole)
