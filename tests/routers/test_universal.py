"""The universal stream over seven providers: each in its own format, through the real server process.

`python -m pytest tests/routers/test_universal.py -k table` runs the table of docs/06-universal.md.
"""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.routers.conftest import BRISK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.handle import FakeProviders

PNG = base64.b64encode(bytes.fromhex("89504e470d0a1a0a")).decode()
LOOK = {
    "name": "look",
    "description": "Look somewhere",
    "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
}
THINKING = {"type": "enabled", "budget_tokens": 1024}


@dataclass(frozen=True)
class Case:
    """A provider as the table asks it: whether its wire shows reasoning, and whether it signs it."""

    path: str
    model: str
    thinker: str
    shows: bool = True
    signs: bool = False


CASES = {
    "anthropic": Case("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5", signs=True),
    "openai": Case("openai", "gpt-4o", "gpt-5", shows=False),
    "google": Case("gemini", "gemini-2.5-flash", "gemini-2.5-pro"),
    "cohere": Case("cohere", "command-a-03-2025", "command-a-reasoning-08-2025"),
    "mistral": Case("mistral", "mistral-large-latest", "magistral-medium-latest"),
    "azure": Case("azure", "azure/gpt-4o", "azure/gpt-5", shows=False),
    "bedrock": Case("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                    "us.anthropic.claude-sonnet-4-5-20250929-v1:0", signs=True),
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(providers_process: FakeProviders) -> Iterator[GatewayProcess]:
    settings = {**BRISK, "HEADGATE_COOLDOWN_AFTER": "0", **providers_process.settings}
    with GatewayProcess("--no-prefect", **settings) as process:
        # LiteLLM is imported at the first request; its time is nobody's test.
        ask(process, {"model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]})
        yield process


@pytest.fixture(params=CASES)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(provider: str) -> Case:
    return CASES[provider]


def body_for(model: str, content: Any = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": content}], **more}


def ask(gateway: GatewayProcess, body: dict[str, Any], path: str = "/v1/universal/stream", **headers: str):
    return httpx.post(gateway.url + path, json=body, headers=headers, timeout=60)


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def said(chunks: list[dict[str, Any]], kind: str, field: str) -> list[str]:
    """Join what the chunks of a kind say, part by part."""
    parts: dict[int, str] = {}
    for chunk in chunks:
        if chunk["kind"] == kind and field in chunk["delta"]:
            parts[chunk["index"]] = parts.get(chunk["index"], "") + chunk["delta"][field]
    return list(parts.values())


def test_table_text(gateway, providers, provider, case):
    providers.script({"text": "Hello there, friend.", "usage": {"input": 50, "output": 7}, "chunk": 100})
    chunks = chunks_of(ask(gateway, body_for(case.model, system="Be kind.", temperature=0.5)))
    assert {(chunk["v"], chunk["provider"]) for chunk in chunks} == {(1, provider)}
    assert said(chunks, "text", "text") == ["Hello there, friend."]
    assert [chunk["kind"] for chunk in chunks] == ["text", "usage", "end"]
    usage, end = chunks[-2]["delta"], chunks[-1]["delta"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (50, 7)
    assert usage["cost_usd"] > 0
    assert end == {"stop_reason": "end_turn", "stop_sequence": None}
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    assert "Be kind." in json.dumps(seen["body"])


def test_table_stream(gateway, providers, provider, case):
    """Pieces come as they are made: the first while the provider still holds the rest back."""
    providers.script({"text": "one two three", "chunk": 4, "delay": 0.15})
    arrived = []
    with httpx.stream("POST", f"{gateway.url}/v1/universal/stream", json=body_for(case.model)) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                arrived.append(json.loads(line[6:])["kind"])
                if len(arrived) == 1:
                    assert not providers.requests(case.path)[-1]["finished"]
    assert arrived == ["text", "text", "text", "text", "usage", "end"]


def test_table_tools(gateway, providers, case):
    providers.script(
        {"text": "Let me look.", "tools": [{"name": "look", "input": {"where": "up"}}], "chunk": 5}
    )
    choice = {"type": "any"}
    chunks = chunks_of(ask(gateway, body_for(case.model, tools=[LOOK], tool_choice=choice)))
    [call] = [chunk["delta"] for chunk in chunks if "name" in chunk["delta"]]
    assert call["name"] == "look"
    assert call["id"]
    assert [json.loads(one) for one in said(chunks, "tool_call", "arguments")] == [{"where": "up"}]
    assert chunks[-1]["delta"]["stop_reason"] == "tool_use"
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"])
    assert "Look somewhere" in sent
    assert '"where"' in sent
    assert '"any"' in sent or '"required"' in sent or '"ANY"' in sent or '"REQUIRED"' in sent


def test_table_parallel_tools(gateway, providers, case):
    """Two calls at once, and their results on the next turn, in the order of the calls."""
    tools = [{"name": "look", "input": {"where": "up"}}, {"name": "look", "input": {"where": "down"}}]
    providers.script({"tools": tools, "chunk": 5})
    chunks = chunks_of(ask(gateway, body_for(case.model, tools=[LOOK])))
    calls = [chunk["delta"] for chunk in chunks if "name" in chunk["delta"]]
    given = [json.loads(one) for one in said(chunks, "tool_call", "arguments")]
    assert given == [{"where": "up"}, {"where": "down"}]
    assert len({call["id"] for call in calls}) == 2
    used = [
        {"type": "tool_use", "id": c["id"], "name": c["name"], "input": i}
        for c, i in zip(calls, given, strict=True)
    ]
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": f"result {place}"}
        for place, call in enumerate(calls)
    ]
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": used},
        {"role": "user", "content": results[::-1]},
    ]
    chunks = chunks_of(ask(gateway, {**body_for(case.model, tools=[LOOK]), "messages": messages}))
    assert chunks[-1]["kind"] == "end"
    seen = providers.requests(case.path)[-1]
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"])
    assert 0 < sent.index("result 0") < sent.index("result 1")


def test_table_reasoning(gateway, providers, case):
    """Reasoning is asked for, shown where the wire shows it, and goes back signed where it is signed."""
    providers.script({"reasoning": "Let me think about that.", "text": "Yes.", "chunk": 9})
    chunks = chunks_of(ask(gateway, body_for(case.thinker, thinking=THINKING)))
    assert said(chunks, "text", "text") == ["Yes."]
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"]).lower()
    if case.path != "cohere":  # LiteLLM has no form for it there; Cohere's thinkers think unasked
        assert "thinking" in sent or "reasoning" in sent
    assert said(chunks, "reasoning", "text") == (["Let me think about that."] if case.shows else [])
    if not case.shows:
        return
    [signature] = said(chunks, "reasoning", "signature")
    thought = {"type": "thinking", "thinking": "Let me think about that.", "signature": signature}
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "Yes."}]},
        {"role": "user", "content": "Why?"},
    ]
    chunks_of(ask(gateway, {**body_for(case.thinker, thinking=THINKING), "messages": messages}))
    seen = providers.requests(case.path)[-1]
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"])
    assert ("sig-" in sent and "Let me think about that." in sent) == case.signs


def test_table_image(gateway, providers, case):
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]
    providers.script({"text": "A header."})
    chunks = chunks_of(ask(gateway, body_for(case.model, content)))
    assert said(chunks, "text", "text") == ["A header."]
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"])
    assert PNG in sent
    assert "png" in sent


@pytest.mark.parametrize(
    ("upstream", "status", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (401, 403, "permission_error"),
        (404, 404, "not_found_error"),
        (429, 429, "rate_limit_error"),
        (500, 500, "api_error"),
        (503, 529, "overloaded_error"),
    ],
)
def test_table_error(gateway, providers, provider, case, upstream, status, kind):
    providers.script({"status": upstream, "message": "as told", "headers": {"retry-after": "45"}, "times": 0})
    answer = ask(gateway, body_for(case.model))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind)
    assert "as told" in error["message"]
    assert answer.headers["retry-after"] == "45"
    if upstream == 401:
        assert "_KEY" in error["message"]
    assert len(providers.requests(case.path)) == 1  # nobody waits 45 s; and LiteLLM tries nothing again


@pytest.mark.parametrize("fault", ["error_frame", "truncate", "reset", "stall"])
def test_table_error_in_the_midst(gateway, providers, case, fault):
    error = {"code": 529, "message": "provider failed"}
    providers.script(
        {"text": "one two three four five six", "chunk": 4, "fault": fault, "after": 5, "error": error}
    )
    chunks = chunks_of(ask(gateway, body_for(case.model)))
    kinds = [chunk["kind"] for chunk in chunks]
    assert kinds[0] == "text"
    assert kinds[-1] == "error"
    assert "end" not in kinds
    assert "usage" not in kinds
    assert len(providers.requests(case.path)) == 1


@pytest.mark.parametrize("after", [0, 7])
def test_table_disconnect(gateway, providers, case, after):
    """A client that leaves closes the provider's connection, long before the 1.5 s of the idle time-out."""
    fault = {"fault": "stall", "after": after} if after else {"fault": "stall_headers"}
    providers.script({"text": "one two three four five six", "chunk": 4, **fault})
    raw = json.dumps(body_for(case.model)).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/universal/stream HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
        connection.sendall(head.encode() + raw)
        providers.wait_for(1, case.path)
        while after and b'"kind":"text"' not in connection.recv(4096):
            pass
    assert providers.wait_closed(case.path, seconds=1)["closed_early"]


# ---- the endpoint's own rules ----

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
    with GatewayProcess("--no-prefect", **BRISK, **settings) as process:
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
