"""The fakes speak the providers' real formats: the providers' own SDKs read what they send."""

from __future__ import annotations

import json
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
import cohere
import httpx
import openai
import pytest
from botocore.config import Config
from google import genai

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mistralai.client import Mistral

if TYPE_CHECKING:
    from tests.fakes.handle import FakeProviders

REPLY = {
    "reasoning": "Let me think.",
    "text": "Hello there.",
    "tools": [{"name": "look", "input": {"where": "up"}}, {"name": "look", "input": {"where": "down"}}],
    "usage": {"input": 50, "output": 7},
    "chunk": 5,
}
SAID = ("Hello there.", [{"where": "up"}, {"where": "down"}], 7)
USER = [{"role": "user", "content": "Hello"}]


def read_openai(client: openai.OpenAI, model: str) -> tuple[str, list[Any], int]:
    text, calls, tokens = "", {}, 0
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(
        model=model, messages=USER, stream=True, stream_options=options
    ):
        if chunk.usage:
            tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                calls[call.index] = calls.get(call.index, "") + (call.function.arguments or "")
    return text, [json.loads(one) for one in calls.values()], tokens


def test_anthropic(providers: FakeProviders):
    providers.script(REPLY)
    url = f"{providers.root}/anthropic"
    with (
        anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="claude-opus-4-6", max_tokens=9, messages=USER) as stream,
    ):
        message = stream.get_final_message()
    thinking, text, *calls = message.content
    assert thinking.thinking == "Let me think."
    assert (text.text, [call.input for call in calls], message.usage.output_tokens) == SAID


def test_openai(providers: FakeProviders):
    providers.script(REPLY)
    with openai.OpenAI(base_url=f"{providers.root}/openai/v1", api_key="k", max_retries=0) as client:
        assert read_openai(client, "gpt-4o") == SAID


def test_azure(providers: FakeProviders):
    providers.script(REPLY)
    url = f"{providers.root}/azure"
    with openai.AzureOpenAI(
        azure_endpoint=url, api_version="2024-10-21", api_key="k", max_retries=0
    ) as client:
        assert read_openai(client, "gpt-4o") == SAID


def test_google(providers: FakeProviders):
    providers.script(REPLY)
    options = {"base_url": f"{providers.root}/gemini", "api_version": "v1beta"}
    with genai.Client(api_key="k", http_options=options) as client:
        chunks = list(client.models.generate_content_stream(model="gemini-2.5-pro", contents="Hello"))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or ()]
    assert "".join(part.text for part in parts if part.text and part.thought) == "Let me think."
    text = "".join(part.text for part in parts if part.text and not part.thought)
    calls = [part.function_call.args for part in parts if part.function_call]
    assert (text, calls, chunks[-1].usage_metadata.candidates_token_count) == SAID


def test_cohere(providers: FakeProviders):
    providers.script(REPLY)
    text, thought, calls, tokens = "", "", {}, 0
    with httpx.Client() as http:
        client = cohere.ClientV2(api_key="k", base_url=f"{providers.root}/cohere", httpx_client=http)
        events = list(client.chat_stream(model="command-a-03-2025", messages=USER))
    for event in events:
        match event.type:
            case "content-delta":
                text += event.delta.message.content.text or ""
                thought += event.delta.message.content.thinking or ""
            case "tool-call-delta":
                piece = event.delta.message.tool_calls.function.arguments
                calls[event.index] = calls.get(event.index, "") + piece
            case "message-end":
                tokens = int(event.delta.usage.tokens.output_tokens)
    assert thought == "Let me think."
    assert (text, [json.loads(one) for one in calls.values()], tokens) == SAID


def test_mistral(providers: FakeProviders):
    providers.script(REPLY)
    text, thought, calls, tokens = "", "", [], 0
    with (
        Mistral(api_key="k", server_url=f"{providers.root}/mistral") as client,
        client.chat.stream(model="magistral-medium-latest", messages=USER) as events,
    ):
        for event in events:
            choice = event.data.choices[0]
            content = choice.delta.content
            if isinstance(content, str):
                text += content
            for part in content if isinstance(content, list) else ():
                thought += "".join(piece.text for piece in part.thinking)
            calls += [json.loads(call.function.arguments) for call in choice.delta.tool_calls or ()]
            if event.data.usage:
                tokens = event.data.usage.completion_tokens
    assert thought == "Let me think."
    assert (text, calls, tokens) == SAID


@pytest.fixture
def bedrock(providers: FakeProviders):
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"{providers.root}/bedrock",
        aws_access_key_id="AKIDFAKE",
        aws_secret_access_key="s",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def converse(bedrock: Any) -> list[dict[str, Any]]:
    messages = [{"role": "user", "content": [{"text": "Hello"}]}]
    answer = bedrock.converse_stream(
        modelId="us.anthropic.claude-sonnet-4-5-20250929-v1:0", messages=messages
    )
    with closing(answer["stream"]) as events:
        return list(events)


def test_bedrock(providers: FakeProviders, bedrock: Any):
    providers.script(REPLY)
    text, thought, calls, tokens = "", "", {}, 0
    for event in converse(bedrock):
        if "metadata" in event:
            tokens = event["metadata"]["usage"]["outputTokens"]
        if "contentBlockDelta" not in event:
            continue
        index, delta = event["contentBlockDelta"]["contentBlockIndex"], event["contentBlockDelta"]["delta"]
        text += delta.get("text", "")
        thought += delta.get("reasoningContent", {}).get("text", "")
        if "toolUse" in delta:
            calls[index] = calls.get(index, "") + delta["toolUse"]["input"]
    assert thought == "Let me think."
    assert (text, [json.loads(one) for one in calls.values()], tokens) == SAID


def test_bedrocks_error_in_mid_stream(providers: FakeProviders, bedrock: Any):
    providers.script(
        {**REPLY, "fault": "error_frame", "after": 3, "error": {"code": 500, "message": "broken"}}
    )
    with pytest.raises(bedrock.exceptions.ClientError, match="broken"):
        converse(bedrock)
