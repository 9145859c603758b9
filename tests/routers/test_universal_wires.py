"""What docs/06-universal.md says of each provider's wire."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.routers.universal import LOOK, ask, body_for, chunks_of, said

if TYPE_CHECKING:
    from tests.fakes.gateway import GatewayProcess


@pytest.fixture
def gateway(universal_process: GatewayProcess) -> GatewayProcess:
    return universal_process


PDF = base64.b64encode(b"%PDF-1.4 tiny").decode()
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
ASKING = {"type": "text", "text": "What is this?"}


def test_documents(gateway, providers, provider, case):
    answer = ask(gateway, body_for(case.model, [ASKING, DOCUMENT]))
    if provider in {"cohere", "mistral"}:
        assert answer.status_code == 400
        assert "messages.0.content.1" in answer.json()["error"]["message"]
        return
    chunks_of(answer)
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    assert PDF in json.dumps(seen["body"])


def test_images_by_address(gateway, providers, provider, case):
    url = "https://example.org/a.png"
    answer = ask(
        gateway, body_for(case.model, [ASKING, {"type": "image", "source": {"type": "url", "url": url}}])
    )
    if provider in {"google", "bedrock"}:
        assert answer.status_code == 400
        return
    chunks_of(answer)
    [seen] = providers.requests(case.path)
    assert url in json.dumps(seen["body"])


def test_cache_breakpoints(gateway, providers, provider, case):
    system = [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]
    chunks_of(ask(gateway, body_for(case.model, system=system)))
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"])
    assert ("cache_control" in sent or "cachePoint" in sent) == (provider in {"anthropic", "bedrock"})


def test_system_messages_within_the_conversation(gateway, providers, case):
    messages = [{"role": "user", "content": "Hello"}, {"role": "system", "content": "Be brief."}]
    chunks_of(ask(gateway, {**body_for(case.model), "messages": messages}))
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"])
    assert "Hello" in sent
    assert "Be brief." in sent


def test_top_k(gateway, providers, provider, case):
    answer = ask(gateway, body_for(case.model, top_k=5))
    if provider in {"openai", "azure", "mistral"}:
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("top_k: ")
        return
    chunks_of(answer)
    [seen] = providers.requests(case.path)
    assert seen["complaint"] == ""
    sent = json.dumps(seen["body"])
    assert '"top_k": 5' in sent or '"k": 5' in sent or '"topK": 5' in sent


def test_gemini_gets_its_signature_back(gateway, providers):
    providers.script({"tools": [{"name": "look", "input": {"where": "up"}, "signature": "c2lnbmVk"}]})
    chunks = chunks_of(ask(gateway, body_for("gemini-2.5-pro", tools=[LOOK])))
    [call] = [chunk["delta"] for chunk in chunks if "name" in chunk["delta"]]
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "tool_use", **call, "input": {"where": "up"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "sky"}]},
    ]
    chunks_of(ask(gateway, {**body_for("gemini-2.5-pro", tools=[LOOK]), "messages": messages}))
    sent = json.dumps(providers.requests("gemini")[-1]["body"])
    assert "c2lnbmVk" in sent


def test_a_refusal_of_openai_is_told(gateway, providers):
    """LiteLLM's own reader drops chunks that hold nothing but a refusal."""
    providers.script({"refusal": "I cannot help with that."})
    chunks = chunks_of(ask(gateway, body_for("gpt-4o")))
    assert said(chunks, "text", "text") == ["I cannot help with that."]
    assert chunks[-1]["delta"]["stop_reason"] == "refusal"
