"""The table of docs/06-universal.md: each provider in its own format, through the real server process."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.routers.universal import LOOK, PNG, THINKING, ask, body_for, chunks_of, said

if TYPE_CHECKING:
    from tests.fakes.gateway import GatewayProcess


@pytest.fixture
def gateway(universal_process: GatewayProcess) -> GatewayProcess:
    return universal_process


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
