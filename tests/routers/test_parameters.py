"""Parameters and profiles through a real gateway: what the upstream receives, and what the client is told."""

from __future__ import annotations

import httpx
import pytest

from tests.routers.conftest import gateway_on

ASK = {"model": "openai/gpt-5", "max_tokens": 1024, "messages": [{"role": "user", "content": "Hello"}]}
CALLED = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "Read", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]},
]
ENVIRONMENT = {
    "OPENROUTER_MIN_P": "0.3",
    "OPENROUTER_TOP_A": "0.3",
    "OPENROUTER_REPETITION_PENALTY": "1.3",
    "OPENROUTER_PROVIDER": '{"sort": "price"}',
    "OPENAI_SEED": "3",
    "HEADGATE_PROFILES": '{"openai/*": {"tool_timeout": 0.3}}',
}


@pytest.fixture(scope="module")
def preset(openrouter_process):
    with gateway_on(openrouter_process, OPENROUTER_WIRE="auto", **ENVIRONMENT) as gateway:
        yield gateway


def post(gateway, body, **headers):
    return httpx.post(f"{gateway.url}/v1/messages", json=body, headers=headers)


def test_the_body_then_a_header_then_the_environment(preset, openrouter):
    headers = {"x-openrouter-min-p": "0.2", "x-openrouter-top-a": "0.2", "x-openai-user": "u2"}
    answer = post(preset, ASK | {"min_p": 0.1, "temperature": 0.9, "temperature_range": [0, 0.5]}, **headers)
    assert answer.status_code == 200
    assert "x-headgate-left-out" not in answer.headers
    (seen,) = openrouter.requests("chat")
    names = ("min_p", "top_a", "repetition_penalty", "provider", "seed", "user", "temperature")
    assert {name: seen["body"].get(name) for name in names} == {
        "min_p": 0.1,
        "top_a": 0.2,
        "repetition_penalty": 1.3,
        "provider": {"sort": "price"},
        "seed": 3,
        "user": "u2",
        "temperature": 0.5,
    }
    assert "temperature_range" not in seen["body"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_taken_is_named(preset, openrouter, stream):
    body = ASK | {"model": "claude-opus-4-6", "stream": stream, "min_p": 0.1, "trace": {"trace_id": "t"}}
    answer = post(preset, body, **{"x-openai-seed": "2"})
    assert answer.headers["x-headgate-left-out"] == "min_p,seed"
    (seen,) = openrouter.requests("messages")
    assert seen["body"] == ASK | {
        "model": "anthropic/claude-opus-4.6",
        "stream": stream,
        "trace": {"trace_id": "t"},
        "provider": {"sort": "price"},
    }


@pytest.mark.parametrize("stream", [False, True])
def test_citations_that_nobody_can_give_are_named(preset, openrouter, stream):
    source = {"type": "text", "media_type": "text/plain", "data": "A headgate is a gate."}
    asked = {"type": "document", "source": source, "citations": {"enabled": True}}
    body = ASK | {"messages": [{"role": "user", "content": [asked]}], "stream": stream}
    assert post(preset, body).headers["x-headgate-left-out"] == "citations"
    assert "x-headgate-left-out" not in post(preset, body | {"model": "claude-opus-4-6"}).headers
    (chat,) = openrouter.requests("chat")
    assert chat["body"]["messages"][0]["content"] == source["data"]
    (native,) = openrouter.requests("messages")
    assert native["body"]["messages"] == body["messages"]


@pytest.mark.parametrize(
    ("body", "headers", "refusal"),
    [
        ({"provider": {"sort": "x"}}, {}, "provider.sort: must be one of price"),
        ({}, {"x-openrouter-min-p": "2"}, "min_p: must be between 0 and 1 (header x-openrouter-min-p)"),
        ({"model": "claude-opus-4-6", "logit_bias": {"1": 1}}, {}, "logit_bias: the backend (openrouter)"),
    ],
)
def test_refusals_say_the_path(preset, openrouter, body, headers, refusal):
    answer = post(preset, ASK | body, **headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(refusal)
    assert openrouter.requests("chat", "messages") == []


def test_a_profile_reaches_the_upstream(preset, openrouter):
    post(preset, ASK | {"model": "claude-sonnet-4-20250514", "max_tokens": 10_000})
    post(preset, ASK | {"model": "claude-3-7-sonnet-latest", "max_tokens": 10_000})
    thinking = [seen["body"]["thinking"] for seen in openrouter.requests("messages")]
    assert thinking == [{"type": "enabled", "budget_tokens": tokens} for tokens in (8000, 5000)]


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        ("messages", "google/gemini-3-pro-preview", False),
        ("messages", "minimax/minimax-m2", True),
        ("chat/completions", "openai/gpt-oss-120b", False),
    ],
)
def test_a_model_that_must_reason_is_asked_again_and_remembered(preset, openrouter, path, model, stream):
    openrouter.script({"status": 503, "times": 3}, {"text": "At last."})  # one goes to what is refused
    off = {"thinking": {"type": "disabled"}} if path == "messages" else {"reasoning": {"enabled": False}}
    for _ in range(2):
        answer = httpx.post(f"{preset.url}/v1/{path}", json=ASK | off | {"model": model, "stream": stream})
        assert answer.status_code == 200
    told = [seen["body"]["reasoning"] for seen in openrouter.requests("chat")]
    assert told == [{"enabled": False}] + 4 * [{"effort": "low", "exclude": True}]  # two are usual retries


def test_a_model_known_to_reason_is_never_told_not_to(preset, openrouter):
    assert post(preset, ASK | {"thinking": {"type": "disabled"}}).status_code == 200
    (seen,) = openrouter.requests("chat")
    assert seen["body"]["reasoning"] == {"effort": "low", "exclude": True}


def test_a_stream_that_is_late_after_tool_results_is_tried_again(preset, openrouter):
    openrouter.script({"text": "Late.", "first_delay": 20}, {"text": "In time."})
    answer = post(preset, ASK | {"messages": CALLED, "stream": True})
    assert "In time." in answer.text
    assert len(openrouter.requests("chat")) == 2


def test_a_stream_that_is_always_late_is_a_timeout(preset, openrouter):
    openrouter.script({"fault": "stall", "times": 0})
    answer = post(preset, ASK | {"messages": CALLED, "stream": True})
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
    assert "no first event within 0.3 s of the tools' results" in answer.text


CHAT = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "Hello"}]}


def complete(gateway, body, **headers):
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)


def test_a_client_of_openai_s_gets_them_too(preset, openrouter):
    body = CHAT | {"min_p": 0.1, "temperature": 0.9, "temperature_range": [0, 0.5]}
    assert complete(preset, body, **{"x-openrouter-top-a": "0.2"}).status_code == 200
    (seen,) = openrouter.requests("chat")
    names = ("min_p", "top_a", "seed", "temperature", "temperature_range")
    assert [seen["body"].get(name) for name in names] == [0.1, 0.2, 3, 0.5, None]


def test_a_client_of_openai_s_hears_what_is_not_taken(preset, openrouter):
    body = CHAT | {"model": "claude-opus-4-6", "min_p": 0.1, "seed": 1}
    assert complete(preset, body).headers["x-headgate-left-out"] == "min_p,seed"
    (seen,) = openrouter.requests("messages")
    assert not {"min_p", "seed"} & seen["body"].keys()


def test_a_client_of_openai_s_is_refused_alike(preset, openrouter):
    answer = complete(preset, CHAT | {"provider": {"sort": "x"}})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("provider.sort: must be one of price")
