"""Everything but messages: models, counts, health, keys, unknown routes."""

from __future__ import annotations

import asyncio
import json
import socket

import anthropic
import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.web import WebProcess
from tests.routers.conftest import gateway_on

ASK = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def keyed(openrouter_process):
    with gateway_on(openrouter_process, HEADGATE_API_KEYS="first-key, second-key") as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("GET", "/", 200),
        ("HEAD", "/api/hello", 200),
        ("GET", "/health", 200),
        ("GET", "/health/detailed", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/v1/models", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/messages", 405),
        ("DELETE", "/health", 405),
        ("POST", "/v1/messages/", 404),
        ("GET", "/v1/models?limit=0", 400),
        ("GET", "/v1/models?limit=x", 400),
        ("GET", "/v1/models?after_id=unknown", 400),
    ],
)
def test_routes(chat_process, openrouter, method, path, status):
    answer = httpx.request(method, chat_process.url + path)
    assert answer.status_code == status
    assert answer.headers["request-id"].startswith("req_")
    if status >= 400:
        error = answer.json()
        assert error["type"] == "error"
        assert error["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize("sent", [b"FOO /v1/messages HTTP/1.1\r\nhost: x\r\n\r\n", b"nonsense\r\n\r\n"])
def test_what_is_no_http_is_refused_like_all_else(chat_process, sent):
    url = httpx.URL(chat_process.url)
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        connection.sendall(sent)
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    told = json.loads(body)
    assert status == "HTTP/1.1 400 Bad Request"
    assert (headers["content-type"], headers["content-length"]) == ("application/json", str(len(body)))
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")
    assert told["request_id"] == headers["request-id"]


def test_405_says_what_is_allowed(chat_process):
    assert httpx.get(f"{chat_process.url}/v1/messages").headers["allow"] == "POST"


def test_the_root_says_what_this_is(chat_process):
    told = httpx.get(chat_process.url).json()
    assert told["name"] == "headgate"
    assert told["links"]["messages"] == "/v1/messages"


def test_health_in_detail(chat_process):
    told = httpx.get(f"{chat_process.url}/health/detailed").json()
    assert told["backend"]["name"] == "openrouter"
    assert set(told["processes"]) == {"web", "batches", "counter", "maintenance"}
    assert "sk-or-v1-ours" not in str(told)


def test_the_sdk_lists_models_by_pages(chat_process, openrouter):
    with anthropic.Anthropic(base_url=chat_process.url, api_key="x") as client:
        names = [model.id for model in client.models.list(limit=2)]
        assert names[:2] == ["big", "small"]
        assert {"openai/gpt-5", "anthropic/claude-sonnet-4"} <= set(names)
        assert len(names) == len(set(names))
        first = client.models.list(limit=2)
        assert (first.first_id, first.last_id, first.has_more) == ("big", "small", True)
        back = client.models.list(limit=10, before_id=names[2])
        assert [model.id for model in back.data] == names[:2]
        assert client.models.retrieve("claude-sonnet-4").id == "claude-sonnet-4"
        assert client.models.retrieve("openai/gpt-5").type == "model"
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("openai/no-such-model")


def test_the_list_stands_without_the_upstream():
    with gateway_on_nothing() as gateway:
        names = [model["id"] for model in httpx.get(f"{gateway.url}/v1/models").json()["data"]]
    assert names[0] == "big"
    assert any(name.startswith("anthropic/") for name in names)


def gateway_on_nothing():
    return WebProcess(HEADGATE_RETRIES="0")


def test_no_upstream_is_an_api_error():
    with gateway_on_nothing() as gateway:
        answer = httpx.post(f"{gateway.url}/v1/messages", json=ASK)
    assert answer.status_code == 500
    assert "cannot connect" in answer.json()["error"]["message"]


async def test_fifty_counts_at_once(chat_process, openrouter):
    async with anthropic.AsyncAnthropic(base_url=chat_process.url, api_key="x") as client:

        def count(number):
            asked = [{"role": "user", "content": f"{number} words " * 400}]
            return client.messages.count_tokens(model="claude-opus-4-6", messages=asked, tools=[])

        counts = await asyncio.gather(*(count(number) for number in range(50)))
    assert all(800 < counted.input_tokens < 2400 for counted in counts)
    assert openrouter.requests() == []


def test_a_megabyte_is_counted(chat_process):
    body = {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": "some words " * 95_000}]}
    answer = httpx.post(f"{chat_process.url}/v1/messages/count_tokens?beta=true", json=body)
    assert answer.json()["input_tokens"] > 100_000


def test_all_that_a_model_reads_is_counted(chat_process):
    def counted(*blocks, **more):
        body = {"model": "big", "messages": [{"role": "user", "content": list(blocks)}], **more}
        return httpx.post(f"{chat_process.url}/v1/messages/count_tokens", json=body).json()["input_tokens"]

    hello = {"type": "text", "text": "Hello"}
    found = {"type": "search_result", "source": "https://a", "title": "A"}
    bare = counted(hello)
    assert counted(hello, found | {"content": [{"type": "text", "text": "word " * 500}]}) > bare + 500
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": "word " * 500}}}
    wanted = {"type": "json_schema", "schema": schema}
    assert counted(hello, output_config={"format": wanted}) > bare + 500
    assert counted(hello, output_format=wanted) > bare + 500
    assert counted(hello, output_config={"effort": "low"}) == bare


def test_a_count_of_what_is_nested_too_deeply_is_refused(chat_process):
    given = "x"
    for _ in range(300):
        given = {"a": given}
    call = {"type": "tool_use", "id": "1", "name": "f", "input": given}
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [call]}]
    answer = httpx.post(
        f"{chat_process.url}/v1/messages/count_tokens", json={"model": "big", "messages": messages}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("messages.1.content.0.input.a")


def test_a_count_waits_for_the_counter_to_start():
    with GatewayProcess("--no-prefect") as gateway:
        body = {"model": "big", "messages": [{"role": "user", "content": "Hello"}]}
        answer = httpx.post(f"{gateway.url}/v1/messages/count_tokens", json=body)
    assert answer.status_code == 200


def test_a_count_of_nothing_is_refused(chat_process):
    answer = httpx.post(f"{chat_process.url}/v1/messages/count_tokens", json={"model": "m", "messages": []})
    assert answer.status_code == 400


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Basic first-key"}])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_wrong_key_is_refused(keyed, openrouter, headers, path):
    answer = httpx.post(keyed.url + path, json=ASK, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert openrouter.requests() == []


@pytest.mark.parametrize("headers", [{"x-api-key": "first-key"}, {"authorization": "Bearer second-key"}])
def test_a_right_key_is_taken_and_stays_here(keyed, openrouter, headers):
    assert httpx.post(f"{keyed.url}/v1/messages", json=ASK, headers=headers).status_code == 200
    assert httpx.get(f"{keyed.url}/v1/models", headers=headers).status_code == 200
    assert "first-key" not in str(openrouter.requests())
    assert "second-key" not in str(openrouter.requests())


def test_health_needs_no_key_but_its_details_do(keyed):
    assert httpx.get(f"{keyed.url}/health").status_code == 200
    assert httpx.get(f"{keyed.url}/health/detailed").status_code == 401
