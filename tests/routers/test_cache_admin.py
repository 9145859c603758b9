"""The cache's own endpoints, at a gateway without keys."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.routers.conftest import gateway_on
from tests.routers.test_cache import ask, send, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeOpenRouter


@pytest.fixture(scope="module")
def cached(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    with gateway_on(openrouter_process, OPENROUTER_WIRE="messages", HEADGATE_CACHE_TTL="600") as gateway:
        yield gateway


def get(gateway: GatewayProcess, path: str, **query: Any) -> Any:
    answer = httpx.get(f"{gateway.url}/v1/cache/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(gateway: GatewayProcess, path: str, body: Any) -> Any:
    answer = send(gateway, body, f"/v1/cache/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_stream_with_its_own_word_on_the_cache(cached, openrouter):
    body = ask() | {"cache": {"ttl": 77, "tags": ["stream-test"]}}
    first = send(cached, body, "/v1/cache/messages/stream")
    again = send(cached, body, "/v1/cache/messages/stream")
    assert (told(first), told(again)) == ("miss", "hit")
    assert first.content == again.content
    assert first.headers["content-type"].startswith("text/event-stream")
    assert "cache" not in openrouter.requests("messages")[0]["body"]
    (entry,) = get(cached, "entries", tag="stream-test")["data"]
    assert (entry["ttl"], entry["form"], entry["stop_reason"]) == (77, "stream", "end_turn")
    body.pop("cache")
    assert told(send(cached, body, "/v1/cache/messages/stream")) == "hit"
    assert told(send(cached, body, x_headgate_cache="on")) == "hit"
    wrong = send(cached, body | {"cache": {"ttl": -1}}, "/v1/cache/messages/stream")
    assert wrong.status_code == 400
    assert wrong.json()["error"]["message"].startswith("cache.ttl")


def test_stale_streams_of_the_endpoint(cached, openrouter):
    body = ask() | {"cache": {"ttl": 0.01, "stale": 60}}
    for outcome in ("miss", "hit"):
        answer = send(cached, body, "/v1/cache/messages/stream")
        assert told(answer) == outcome
        time.sleep(0.05)  # so that it is past its time
    openrouter.wait_for(2, "messages")


def test_entries_come_in_pages_and_go(cached, openrouter):
    for _ in range(5):
        send(cached, ask(), x_headgate_cache="on; tags=pages")
    seen, offset = [], 0
    while offset is not None:
        page = get(cached, "entries", tag="pages", limit=2, offset=offset)
        assert page["has_more"] is (page["next_offset"] is not None)
        seen += [entry["key"] for entry in page["data"]]
        offset = page["next_offset"]
    assert len(set(seen)) == len(seen) == 5
    assert get(cached, "entries", key=seen[0], pattern="claude-*", older_than=0)["data"][0]["key"] == seen[0]
    assert get(cached, "entries", model="nothing")["data"] == []
    dry = post(cached, "invalidate", {"tag": "pages", "dry_run": True})
    assert (dry["matched"], dry["deleted"], dry["keys"]) == (5, 0, seen)
    assert post(cached, "invalidate", {"key": seen[0]})["deleted"] == 1
    assert post(cached, "invalidate", {"pattern": "pag*", "younger_than": 600})["deleted"] == 4
    assert get(cached, "entries", tag="pages")["data"] == []


def test_bodies_only_on_request(cached, openrouter):
    send(cached, ask(), x_headgate_cache="on; tags=bodies")
    (plain,) = get(cached, "entries", tag="bodies")["data"]
    (full,) = get(cached, "entries", tag="bodies", bodies=True)["data"]
    assert "message" not in plain
    assert full["message"]["content"][0]["text"] == "Fine."


def test_stats_tell_of_the_upstreams_own_cache(cached, openrouter):
    before = get(cached, "stats")["upstream_prompt_cache"]
    openrouter.script({"text": "x", "usage": {"input": 10, "output": 2, "cached": 60, "written": 30}})
    send(cached, ask())
    after = get(cached, "stats")
    told_now = after["upstream_prompt_cache"]
    assert told_now["answers"] == before["answers"] + 1
    assert told_now["read_tokens"] - before["read_tokens"] == 60
    assert told_now["written_tokens"] - before["written_tokens"] == 30
    assert 0 < told_now["hit_rate"] < 1
    assert after["held"]["limit"] == 1024**3


def test_the_configuration_has_the_settings(cached):
    told_now = get(cached, "configuration")
    assert (told_now["default"], told_now["ttl"], told_now["store"]["kind"]) == ("off", 600, "disk")
    assert told_now["keep"] == ["end_turn", "stop_sequence", "tool_use"]


def test_the_cache_measures_itself(cached):
    told_now = post(cached, "test", {"rounds": 20})
    assert told_now["rounds"] == 20
    for name in ("write", "read", "stream_replay"):
        assert told_now[name]["count"] == 20
    assert told_now["stream_replay_events_per_second"] > 0
    assert httpx.post(f"{cached.url}/v1/cache/test").json()["rounds"] == 100
    for rounds in (0, 1001, True, "3"):
        assert send(cached, {"rounds": rounds}, "/v1/cache/test").status_code == 400
    assert not any(entry["tenant"] == "measurement" for entry in get(cached, "entries", limit=1000)["data"])


def test_warming_tells_how_far_it_is(cached, openrouter):
    openrouter.script({"text": "cut", "stop": "max_tokens", "when": {"user": "long"}})
    requests = [ask(), ask(stream=True), ask(messages=[{"role": "user", "content": "long"}])]
    answer = send(
        cached,
        {"requests": requests, "stream": True, "at_once": 1, "cache": {"tags": ["warm"]}},
        "/v1/cache/warm",
    )
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events] == ["progress"] * 3 + ["result"]
    assert [event["done"] for event in events] == [1, 2, 3, 3]
    assert (events[-1]["stored"], events[-1]["unfit"]) == (2, 1)
    assert len(get(cached, "entries", tag="warm")["data"]) == 2
    assert told(send(cached, requests[1], x_headgate_cache="only")) == "hit"


@pytest.mark.parametrize(
    "wrong", [{}, {"requests": []}, {"requests": [3]}, {"requests": [{}], "at_once": 65}]
)
def test_wrong_lists_are_refused(cached, wrong):
    assert send(cached, wrong, "/v1/cache/warm").status_code == 400


def test_pages_from_elsewhere_manage_nothing(cached):
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        assert httpx.get(f"{cached.url}/v1/cache/stats", headers=headers).status_code == 403
        answer = httpx.post(f"{cached.url}/v1/cache/invalidate", json={"all": True}, headers=headers)
        assert answer.status_code == 403
