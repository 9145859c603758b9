"""What clients see when something is wrong: with the request, the upstream, or the connection."""

from __future__ import annotations

import json
import socket
import time
from http.client import HTTPResponse

import anthropic
import httpx
import pytest

ASK = {
    "model": "claude-opus-4-6",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hello"}],
}


def post(gateway, body, path="/v1/messages", **options):
    if isinstance(body, dict):
        options["json"] = body
    else:
        options["content"] = body
    return httpx.post(f"{gateway.url}{path}", **options)


@pytest.mark.parametrize(
    ("upstream", "status", "kind", "calls"),
    [
        (400, 400, "invalid_request_error", 1),
        (401, 403, "permission_error", 1),
        (402, 402, "billing_error", 1),
        (403, 403, "permission_error", 1),
        (404, 404, "not_found_error", 1),
        (413, 413, "request_too_large", 1),
        (429, 429, "rate_limit_error", 3),
        (500, 500, "api_error", 3),
        (502, 500, "api_error", 3),
        (503, 529, "overloaded_error", 3),
        (529, 529, "overloaded_error", 3),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_error_table(gateway, openrouter, wire, upstream, status, kind, calls, stream):
    openrouter.script({"status": upstream, "message": "as told", "times": 0})
    answer = post(gateway, ASK | {"stream": stream})
    error = answer.json()
    if wire == "messages" and upstream not in {401, 403}:
        # Anthropic's own errors pass unmodified; only a refusal of our key is told in our words.
        assert error["error"]["message"] == "as told"
        assert answer.status_code == upstream
    else:
        assert (answer.status_code, error["error"]["type"]) == (status, kind)
    assert error["type"] == "error"
    assert answer.headers["request-id"].startswith("req_")
    assert len(openrouter.requests(wire)) == calls


def test_a_refused_key_says_whose(gateway, openrouter):
    openrouter.script({"status": 401, "message": "No auth credentials found"})
    message = post(gateway, ASK).json()["error"]["message"]
    assert "OPENROUTER_API_KEY" in message
    assert "sk-or-v1-ours" not in message


def test_retry_after_is_forwarded_within_bounds(gateway, openrouter, wire):
    openrouter.script({"status": 429, "message": "slow down", "headers": {"retry-after": "4000"}})
    answer = post(gateway, ASK)
    assert answer.headers["retry-after"] == "60"
    assert len(openrouter.requests(wire)) == 1  # nobody waits 60 s for another try


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_x_should_retry_is_obeyed_and_forwarded(gateway, openrouter, wire, path, stream):
    openrouter.script({"status": 503, "message": "no", "headers": {"x-should-retry": "false"}, "times": 0})
    answer = post(gateway, ASK | {"stream": stream}, path)
    assert answer.headers["x-should-retry"] == "false"
    assert len(openrouter.requests(wire)) == 1


@pytest.mark.parametrize(
    "fault", ["reset_before_headers", "reset_after_headers", "half_json", "empty", "error_in_200"]
)
def test_a_broken_answer_is_an_error(gateway, openrouter, fault):
    error = {"code": 502, "message": "provider failed"}
    openrouter.script({"text": "never seen", "fault": fault, "error": error, "times": 0})
    answer = post(gateway, ASK)
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "api_error"


def test_an_error_inside_a_200_is_tried_again(gateway, openrouter, wire):
    error = {"code": 502, "message": "provider failed"}
    openrouter.script({"fault": "error_in_200", "error": error}, {"text": "At last."})
    answer = post(gateway, ASK)
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == "At last."
    assert len(openrouter.requests(wire)) == 2


def test_html_is_an_error(gateway, openrouter):
    html = {"body": "<html>Bad gateway</html>", "content_type": "text/html", "status": 200, "times": 0}
    openrouter.script(html)
    assert post(gateway, ASK).json()["error"]["type"] == "api_error"
    openrouter.script(html)
    assert post(gateway, ASK | {"stream": True}).json()["error"]["type"] == "api_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_silent_upstream_times_out_and_is_not_asked_again(gateway, openrouter, wire, stream):
    openrouter.script({"text": "never", "fault": "stall_headers", "times": 0})
    answer = post(gateway, ASK | {"stream": stream})
    assert answer.status_code == 504
    assert answer.json()["error"]["type"] == "timeout_error"
    assert len(openrouter.requests(wire)) == 1


@pytest.mark.parametrize("fault", ["reset", "error_frame", "truncate", "stall"])
def test_a_stream_that_breaks_ends_with_an_error_event(gateway, openrouter, wire, fault):
    openrouter.script(
        {"text": "one two three four five", "chunk": 4, "fault": fault, "after": 4,
         "error": {"code": 502, "message": "provider failed"}}
    )  # fmt: skip
    answer = post(gateway, ASK | {"stream": True})
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "error"
    assert "message_stop" not in kinds
    assert len(openrouter.requests(wire)) == 1


def test_silence_is_bridged_by_pings(gateway, openrouter):
    openrouter.script({"text": "slow as can be", "chunk": 5, "delay": 0.8})
    answer = post(gateway, ASK | {"stream": True})
    assert "event: ping" in answer.text
    assert "message_stop" in answer.text.rpartition("event: ")[2]


def leave(gateway, body, *, after_first_byte):
    """Send a request and close the connection at once, or after the first bytes of the answer."""
    raw = json.dumps(body).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
        connection.sendall(head.encode() + raw)
        if after_first_byte:
            connection.recv(100)
        else:
            time.sleep(0.3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_early_closes_the_upstream(gateway, openrouter, wire, stream):
    openrouter.script({"text": "never", "fault": "stall_headers", "times": 0})
    leave(gateway, ASK | {"stream": stream}, after_first_byte=False)
    assert openrouter.wait_closed(wire, seconds=1)
    assert len(openrouter.requests(wire)) == 1


def test_a_client_that_leaves_in_mid_stream_closes_the_upstream(gateway, openrouter, wire):
    openrouter.script({"text": "word " * 200, "chunk": 5, "delay": 0.05})
    leave(gateway, ASK | {"stream": True}, after_first_byte=True)
    assert openrouter.wait_closed(wire, seconds=1)


def request_bytes(body, version="1.1"):
    raw = json.dumps(body).encode()
    head = f"POST /v1/messages HTTP/{version}\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


@pytest.mark.parametrize("case", ["pipelined", "reused", "http/1.0", "half closed"])
def test_a_client_that_leaves_is_noticed_on_any_connection(messages_process, openrouter, case):
    openrouter.script(
        {"text": "done", "when": {"user": "first"}, "times": 0},
        {"text": "never", "fault": "stall_headers", "times": 0},
    )
    host, port = messages_process.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(5)
        if case == "reused":
            first = ASK | {"messages": [{"role": "user", "content": "first"}]}
            connection.sendall(request_bytes(first))
            assert b" 200 OK" in connection.recv(65536)
        connection.sendall(request_bytes(ASK, "1.0" if case == "http/1.0" else "1.1"))
        openrouter.wait_for(2 if case == "reused" else 1, "messages")
        if case == "pipelined":
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            time.sleep(0.2)
        if case == "half closed":
            connection.shutdown(socket.SHUT_WR)
            openrouter.wait_closed("messages", seconds=1)
    assert openrouter.wait_closed("messages", seconds=1)


def test_pipelined_requests_are_answered_in_turn(messages_process, openrouter):
    openrouter.script({"text": "done", "times": 0})
    host, port = messages_process.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(5)
        connection.sendall(request_bytes(ASK) * 2 + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        told = b""
        while b'{"status":"ok"}' not in told:
            told += connection.recv(65536)
    assert told.count(b" 200 OK") == 3


def deep(field):
    """Give a request with a field that is 500 levels deep."""
    value = b"[" * 500 + b"]" * 500
    if field == "metadata":
        value = b'{"a":' + value + b"}"
    return json.dumps(ASK)[:-1].encode() + b',"' + field.encode() + b'":' + value + b"}"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{", "body"),
        (b'{"model": NaN}', "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 5000, "body"),
        (b"[]", "body"),
        ({k: v for k, v in ASK.items() if k != "max_tokens"}, "max_tokens"),
        (ASK | {"max_tokens": 0}, "max_tokens"),
        (ASK | {"messages": []}, "messages"),
        (ASK | {"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        (ASK | {"messages": [{"role": "user", "content": [{"type": "magic"}]}]}, "messages.0.content.0"),
        (ASK | {"api_base": "http://evil"}, "api_base"),
        (deep("unknown"), "unknown.0.0."),
        (deep("metadata"), "metadata.a.0."),
        (ASK | {"thinking": {"type": "enabled", "budget_tokens": -5}}, "thinking.budget_tokens"),
        (ASK | {"tools": [{"name": "a", "input_schema": {"type": "wrong"}}]}, "tools.0"),
    ],
)
def test_bad_input_is_refused_with_its_path(gateway, openrouter, wire, body, where):
    answer = post(gateway, body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert where in error["message"]
    assert openrouter.requests(wire) == []


def test_a_body_over_the_limit_is_refused(chat_process):
    assert post(chat_process, b" " * (32 * 2**20 + 1)).status_code == 413


def test_a_body_over_the_limit_is_refused_while_it_is_sent(chat_process):
    """It is refused at the limit and the connection closed, whatever the client has still to send."""
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    host, port = chat_process.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n" + chunk * 32
        )
        connection.sendall(b"1\r\n \r\n")  # one byte too many, and no end
        answer = HTTPResponse(connection)
        answer.begin()
        told = json.loads(answer.read())
    assert answer.status == 413
    assert told["error"]["type"] == "request_too_large"


def test_an_unknown_model_says_what_would_work(gateway, openrouter):
    answer = post(gateway, ASK | {"model": "gpt-5"})
    assert answer.status_code == 404
    assert "openai/gpt-5" in answer.json()["error"]["message"]


def test_overflow_is_told_in_claude_codes_words(gateway, openrouter, wire):
    told = "prompt is too long: 210000 tokens > 200000 maximum"
    if wire == "chat":
        said = "This endpoint's maximum context length is 200000 tokens. However, you requested about 210000"
        said += " tokens"
    else:
        said = told
    openrouter.script({"status": 400, "message": said})
    answer = post(gateway, ASK)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_the_sdk_knows_our_errors(gateway, openrouter):
    openrouter.script({"status": 429, "message": "slow", "times": 0})
    client = anthropic.Anthropic(base_url=gateway.url, api_key="x", max_retries=0)
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**ASK)
    assert caught.value.request_id.startswith("req_")
    client.close()
