"""The universal stream's own rules: formats in and out, who is asked, and what is refused."""

from __future__ import annotations

import anthropic
import httpx
import openai
import pytest

from tests.fakes.web import WebProcess
from tests.routers.conftest import BRISK
from tests.routers.universal import CASES, LOOK, ask, body_for, chunks_of, said


@pytest.fixture
def gateway(universal_process: WebProcess) -> WebProcess:
    return universal_process


BY_ADDRESS = [
    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/"}}]}
]
OPENAI_BODY = {
    "model": "claude-sonnet-4-5",
    "max_completion_tokens": 100,
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
    "tools": [{"type": "function", "function": {"name": "look", "parameters": LOOK["input_schema"]}}],
}


def test_an_openai_body_is_known_by_its_shape(gateway, providers):
    providers.script({"text": "Hi."})
    assert said(chunks_of(ask(gateway, OPENAI_BODY)), "text", "text") == ["Hi."]
    [seen] = providers.requests("anthropic")
    assert seen["complaint"] == ""
    assert seen["body"]["system"] == [{"type": "text", "text": "Be kind."}]
    assert seen["body"]["tools"][0]["input_schema"] == LOOK["input_schema"]


def test_output_as_anthropic_events_reads_with_its_sdk(gateway, providers):
    providers.script({"text": "Hi.", "tools": [{"name": "look", "input": {"where": "up"}}]})
    body = body_for("gpt-4o", tools=[LOOK], output="anthropic", stream=True)
    events = anthropic.Stream[anthropic.types.RawMessageStreamEvent]
    with anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0) as client:
        stream = client.post(
            "/v1/universal/stream", body=body, cast_to=object, stream=True, stream_cls=events
        )
        kinds = [event.type for event in stream]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"


def test_output_as_openai_chunks_reads_with_its_sdk(gateway, providers):
    providers.script({"text": "Hi.", "tools": [{"name": "look", "input": {"where": "up"}}]})
    events = openai.Stream[openai.types.chat.ChatCompletionChunk]
    with openai.OpenAI(base_url=f"{gateway.url}/v1/universal", api_key="k", max_retries=0) as client:
        path = "/stream?output=openai"
        chunks = list(client.post(path, body=OPENAI_BODY, cast_to=object, stream=True, stream_cls=events))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hi."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
    assert chunks[-1].usage.completion_tokens == 30


def test_a_named_provider_is_asked_alone(gateway, providers):
    providers.script({"text": "Hi.", "times": 0})
    by_field = chunks_of(ask(gateway, body_for("my-deployment", provider="azure")))
    by_header = chunks_of(ask(gateway, body_for("my-deployment"), **{"x-headgate-provider": "azure"}))
    assert {by_field[0]["provider"], by_header[0]["provider"]} == {"azure"}
    assert len(providers.requests("azure")) == 2


def test_the_next_provider_takes_over_before_the_first_byte(gateway, providers):
    providers.script(
        {"status": 529, "message": "busy", "times": 0, "when": {"path": "openai"}}, {"text": "Hi."}
    )
    answer = ask(gateway, body_for("gpt-4o"))  # azure has a gpt-4o too
    assert chunks_of(answer)[0]["provider"] == "azure"
    assert answer.headers["x-headgate-backend"] == "azure"


def test_fallbacks_are_tried_in_order(gateway, providers):
    providers.script(
        {"status": 500, "message": "no", "times": 0, "when": {"path": "anthropic"}},
        {"status": 500, "message": "no", "times": 0, "when": {"path": "mistral"}},
        {"text": "Hi."},
    )
    body = body_for("claude-sonnet-4-5", fallbacks=["mistral/mistral-large-latest", "gemini-2.5-pro"])
    assert chunks_of(ask(gateway, body))[0]["provider"] == "google"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "nobodys-model"}, 404, "nobodys-model"),
        ({"model": "grok-4", "provider": "xai"}, 404, "provider"),
        ({"output": "yaml"}, 400, "output"),
        ({"format": "gemini"}, 400, "format"),
        ({"max_tokens": None}, 400, "max_tokens"),
        ({"top_a": 0.5}, 400, "top_a"),
        ({"seed": 7}, 400, "seed"),
        ({"model": "gemini-2.5-pro", "messages": BY_ADDRESS}, 400, "base64"),
    ],
)
def test_refused_by_name(gateway, providers, change, status, words):
    answer = ask(gateway, body_for("claude-sonnet-4-5") | change)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert providers.requests() == []


def test_silence_is_bridged_by_a_comment(gateway, providers):
    providers.script({"text": "slow as can be", "chunk": 5, "delay": 0.8})
    answer = ask(gateway, body_for("gpt-4o"))
    assert "\n\n: ping\n\n" in answer.text
    assert chunks_of(answer)[-1]["kind"] == "end"


def test_providers_are_listed_without_their_keys(gateway, providers_process):
    answer = httpx.get(f"{gateway.url}/v1/universal/providers")
    told = {one["provider"]: one for one in answer.json()["providers"]}
    assert list(told) == list(CASES)
    assert all(one["configured"] for one in told.values())
    models = {model["id"]: model for model in told["anthropic"]["models"]}
    assert models["claude-sonnet-4-5"]["tools"]
    assert models["claude-sonnet-4-5"]["max_output_tokens"] == 64000
    assert not [
        key for name, key in providers_process.settings.items() if "KEY" in name and key in answer.text
    ]


def test_health_says_who_is_there(gateway):
    told = httpx.get(f"{gateway.url}/v1/universal/health").json()
    assert told["status"] == "ok"
    assert all(one["configured"] and one["reachable"] for one in told["providers"])
    assert all(one["latency_ms"] > 0 for one in told["providers"])


def test_without_a_key_a_provider_says_what_to_set():
    unreachable = "http://127.0.0.1:9"
    settings = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": unreachable, "HEADGATE_API_KEYS": "client-key"}
    with WebProcess(**BRISK, **settings) as process:
        key = {"x-api-key": "client-key"}
        for path in ("providers", "health"):
            assert httpx.get(f"{process.url}/v1/universal/{path}").status_code == 401
        assert ask(process, body_for("gpt-4o")).status_code == 401
        answer = ask(process, body_for("claude-sonnet-4-5"), **key)
        assert answer.status_code == 403
        assert "ANTHROPIC_API_KEY" in answer.json()["error"]["message"]
        told = httpx.get(f"{process.url}/v1/universal/health", headers=key).json()
        health = {one["provider"]: one for one in told["providers"]}
        assert (health["openai"]["reachable"], health["openai"]["last_error"]) == (False, "UpstreamFailed")
        assert health["anthropic"]["configured"] is False
        listed = httpx.get(f"{process.url}/v1/universal/providers", headers=key).json()["providers"]
        assert listed[0]["missing"] == ["ANTHROPIC_API_KEY"]
