"""HEADGATE_PROMPT_CACHE=auto, by real gateways: breakpoints go out, and what the cache did comes back."""

from __future__ import annotations

import httpx
import pytest

from tests.routers.conftest import gateway_on

ANTHROPIC = {
    "system": "Be brief. " * 600,
    "messages": [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "And now?"},
    ],
}
OPENAI = {"messages": [{"role": "system", "content": ANTHROPIC["system"]}, *ANTHROPIC["messages"]]}
MARK = '"cache_control":{"type":"ephemeral"}'


@pytest.fixture(scope="module", params=["chat", "messages"])
def auto(request, openrouter_process):
    settings = {"HEADGATE_PROMPT_CACHE": "auto", "OPENROUTER_WIRE": request.param}
    with gateway_on(openrouter_process, **settings) as gateway:
        yield gateway


@pytest.mark.parametrize(("path", "body"), [("/v1/messages", ANTHROPIC), ("/v1/chat/completions", OPENAI)])
def test_a_client_that_sends_none_reads_from_the_cache(auto, openrouter, path, body):
    openrouter.script({"text": "Yes.", "usage": {"input": 10, "cached": 60, "written": 30}})
    answer = httpx.post(
        f"{auto.url}{path}", json={"model": "anthropic/claude-sonnet-4", "max_tokens": 9, **body}
    )
    assert answer.status_code == 200, answer.text
    (seen,) = openrouter.requests()
    sent = httpx.Request("POST", "http://x", json=seen["body"]).content.decode()
    assert sent.count(MARK) == 3
    usage = answer.json()["usage"]
    if path == "/v1/messages":
        counts = [usage[f"{name}input_tokens"] for name in ("", "cache_read_", "cache_creation_")]
        assert counts == [10, 60, 30]
    else:
        assert usage["prompt_tokens"] == 100
        assert usage["prompt_tokens_details"]["cached_tokens"] == 60
