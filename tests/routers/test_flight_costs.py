"""Who pays for an answer that several requests share, when the one that asked for it leaves."""

from __future__ import annotations

import itertools
import re
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes.waiting import until
from tests.routers.test_limits import asks_for_keys, knows, make_key, start, used

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.handle import FakeOpenRouter
    from tests.fakes.web import WebProcess

ADMIN = {"x-headgate-admin-key": "admin-key-of-the-operator"}
HOW = "on; single-flight"
COST = {"input": 100, "output": 7, "cached": 40, "cost": 1.5}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flights")


@pytest.fixture(scope="module", params=["chat", "messages"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def web_process(folder: Path, wire: str, openrouter_process: FakeOpenRouter) -> Iterator[WebProcess]:
    settings = {"OPENROUTER_WIRE": wire, "HEADGATE_ADMIN_KEYS": ADMIN["x-headgate-admin-key"]}
    with start(folder, openrouter_process, **settings) as web:
        yield web


@pytest.fixture
def web(web_process: WebProcess, openrouter: FakeOpenRouter) -> WebProcess:
    return web_process


def ask(*, stream: bool) -> dict[str, Any]:
    said = f"question {next(_numbers)}"
    asked = {"model": "claude-opus-4-6", "max_tokens": 99, "messages": [{"role": "user", "content": said}]}
    return asked | {"stream": stream}


def measured(web: WebProcess) -> dict[str, float]:
    """Give what the metrics count of backends: calls' tokens and cost."""
    text = httpx.get(f"{web.url}/metrics", headers=ADMIN).text
    told: dict[str, float] = {}
    for name in ("headgate_tokens_total", "headgate_cost_usd_total"):
        found = re.findall(rf"^{name}\{{.*?\}} (\S+)$", text, re.MULTILINE)
        told[name] = sum(map(float, found))
    return told


def asked_upstream(web: WebProcess) -> dict[str, Any]:
    told = httpx.get(f"{web.url}/v1/cache/stats", headers=ADMIN).json()
    return dict(told["upstream_prompt_cache"])


def lead(web: WebProcess, body: dict[str, Any], headers: dict[str, str]) -> threading.Thread:
    """Ask, and leave after a while."""

    def leave() -> None:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{web.url}/v1/messages", json=body, headers=headers, timeout=2)

    leader = threading.Thread(target=leave)
    leader.start()
    return leader


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_is_still_there_pays_once(web, wire, folder, openrouter, stream):
    name = f"{wire}-{stream}"
    openrouter.script({"text": "one two three", "first_delay": 4, "usage": COST, "times": 1})
    key = make_key(folder, name, "--daily-usd", "1")
    until(lambda: asks_for_keys(web) and knows(web, key))
    before, calls = measured(web), asked_upstream(web)
    body, headers = ask(stream=stream), {"x-api-key": key, "x-headgate-cache": HOW}
    leader = lead(web, body, headers)
    openrouter.wait_for(1, wire)
    answers = []
    followers = [
        threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{web.url}/v1/messages", json=body, headers=headers, timeout=60)
            )
        )
        for _ in range(2)
    ]
    for one in followers:
        one.start()
    for one in (leader, *followers):
        one.join()
    assert [one.status_code for one in answers] == [200, 200]
    assert {one.headers["x-headgate-cache"] for one in answers} == {"hit"}
    assert b"end_turn" in answers[0].content
    assert answers[0].content == answers[1].content
    assert len(openrouter.requests(wire)) == 1
    refused = httpx.post(f"{web.url}/v1/messages", json=ask(stream=stream), headers=headers)
    assert refused.status_code == 403
    row = until(lambda: (row := used(folder).get(name)) and row["requests"] == 3 and row)
    assert (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (100, 7, 40)
    assert (row["cached"], row["errors"]) == (1, 0)
    assert row["cost"] == 1.5
    spent = until(lambda: (now := measured(web)) != before and now)
    assert spent["headgate_tokens_total"] - before["headgate_tokens_total"] == 147
    assert spent["headgate_cost_usd_total"] - before["headgate_cost_usd_total"] == 1.5
    now = asked_upstream(web)
    assert (now["answers"] - calls["answers"], now["read_tokens"] - calls["read_tokens"]) == (1, 40)


def test_who_left_in_mid_stream_does_not_pay_a_part_besides(web, wire, folder, openrouter):
    name = f"{wire}-in-mid-stream"
    openrouter.script({"text": "word " * 40, "chunk": 5, "delay": 0.1, "usage": COST, "times": 1})
    key = make_key(folder, name)
    until(lambda: asks_for_keys(web) and knows(web, key))
    body, headers = ask(stream=True), {"x-api-key": key, "x-headgate-cache": HOW}
    where = f"{web.url}/v1/messages"
    with httpx.Client(timeout=60) as first, httpx.Client(timeout=60) as second:
        with first.stream("POST", where, json=body, headers=headers) as leader:
            pieces = leader.iter_bytes()
            next(pieces)
            follower = second.send(
                second.build_request("POST", where, json=body, headers=headers), stream=True
            )
        rest = follower.read()
        follower.close()
    assert follower.headers["x-headgate-cache-note"] == "single-flight"
    assert b"message_stop" in rest
    row = until(lambda: (row := used(folder).get(name)) and row["requests"] == 2 and row)
    assert len(openrouter.requests(wire)) == 1
    assert (row["input_tokens"], row["output_tokens"], row["cached"]) == (100, 7, 0)
    assert row["cost"] == 1.5
