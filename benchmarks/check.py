"""Before the load: does the target say what the upstream said? A fast wrong answer is worth nothing."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

from benchmarks.bodies import CLIENT_KEY, request_body
from benchmarks.canned import PLAIN_TEXT, STREAM_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.targets import Column

_HEADERS = {
    "content-type": "application/json",
    "x-api-key": CLIENT_KEY,
    "anthropic-version": "2023-06-01",
    "user-agent": "claude-cli/2.1.330 (external, cli)",
}


def ask(
    port: int, method: str, path: str, body: bytes | None = None, limit: float = 30.0
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request(method, path, body, _HEADERS if body is not None else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def upstream_count(port: int) -> int:
    return int(ask(port, "GET", "/count")[1])


def wait_until_answers(
    port: int, path: str, limit: float, body: bytes | None = None, *, alive: Callable[[], bool] = lambda: True
) -> float:
    """Ask until the answer is 200; return the moment it came (perf_counter)."""
    until = time.perf_counter() + limit
    seen = "it has ended"
    while time.perf_counter() < until and alive():
        try:
            status, text = ask(port, "POST" if body else "GET", path, body)
        except (OSError, http.client.HTTPException) as error:
            seen = repr(error)
        else:
            if status == 200:
                return time.perf_counter()
            seen = f"{status} {text[:300]!r}"
        time.sleep(0.01)
    raise TimeoutError(f"no answer from {path} within {limit:.0f} s: {seen}")


def _plain_text(body: Any) -> str:
    if "choices" in body:
        return str(body["choices"][0]["message"]["content"])
    return "".join(block.get("text", "") for block in body["content"])


def _delta_text(event: Any) -> str:
    if event.get("choices"):
        return event["choices"][0]["delta"].get("content") or ""
    delta = event.get("delta") or {}
    return delta.get("text", "") if delta.get("type") == "text_delta" else ""


def _stream_text(body: bytes) -> tuple[str, bool]:
    """Return the text of a stream and whether it ended as it should."""
    text, ended = "", False
    for line in body.splitlines():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            ended = True
            continue
        event = json.loads(data)
        ended = ended or event.get("type") == "message_stop"
        text += _delta_text(event)
    return text, ended


def check_column(port: int, column: Column, size: str) -> str | None:
    """Ask once plainly, if it answers plainly, and once as a stream; return what is wrong, or None."""
    if not column.only_streams:
        status, body = ask(port, "POST", column.path, request_body(size, column.model, stream=False))
        if status != 200:
            return f"{size} plain: {status} {body[:300]!r}"
        if _plain_text(json.loads(body)) != PLAIN_TEXT:
            return f"{size} plain: another text: {body[:300]!r}"
    status, body = ask(port, "POST", column.path, request_body(size, column.model, stream=True))
    if status != 200:
        return f"{size} stream: {status} {body[:300]!r}"
    text, ended = _stream_text(body)
    if text != STREAM_TEXT:
        return f"{size} stream: another text: {text[:200]!r}"
    return None if ended else f"{size} stream: no end"
