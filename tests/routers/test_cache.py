"""The answer cache as clients meet it: real gateways, the anthropic SDK, and a fake upstream that counts."""

from __future__ import annotations

import itertools
import os
import pickle
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import pytest

from tests.fakes.redis_server import redis_server
from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeOpenRouter

CLIENT, OTHER, ADMIN = "client-key-one-of-two", "client-key-two-of-two", "admin-key-of-the-operator"
_numbers = itertools.count()


@pytest.fixture(scope="module", params=["chat", "messages"])
def cached(request: pytest.FixtureRequest, openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    """A gateway that caches by default, on either wire, and lets anybody of this machine in."""
    patience = {f"HEADGATE_{name}_TIMEOUT": "60" for name in ("FIRST_BYTE", "IDLE", "ANSWER")}
    with gateway_on(
        openrouter_process, OPENROUTER_WIRE=request.param, HEADGATE_CACHE="on", **patience
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keyed(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    """A gateway with keys, which caches only when it is asked to."""
    keys = {"HEADGATE_API_KEYS": f"{CLIENT},{OTHER}", "HEADGATE_ADMIN_KEYS": ADMIN}
    with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **keys) as gateway:
        yield gateway


def ask(**changed: Any) -> dict[str, Any]:
    """Make a request that nobody has made before."""
    said = f"question {next(_numbers)} of {os.getpid()}"
    return {
        "model": "claude-opus-4-6",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": said}],
    } | changed


def send(
    gateway: GatewayProcess, body: dict[str, Any], path: str = "/v1/messages", **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(gateway.url + path, json=body, headers=named)


def told(answer: httpx.Response) -> str | None:
    return answer.headers.get("x-headgate-cache")


def calls(fake: FakeOpenRouter) -> int:
    return len(fake.requests("chat", "messages"))


@pytest.mark.parametrize(("first", "second"), list(itertools.product([False, True], repeat=2)))
def test_either_form_answers_the_other(cached, openrouter, first, second):
    openrouter.script(
        {
            "reasoning": "hm",
            "text": "Some words.",
            "tools": [{"name": "Read", "input": {"path": "/x"}}],
            "times": 0,
        }
    )
    body = ask(tools=[{"name": "Read", "input_schema": {"type": "object"}}])
    client = anthropic.Anthropic(base_url=cached.url, api_key="k", max_retries=0)

    def message(*, stream: bool) -> tuple[Any, httpx.Headers]:
        if stream:
            with client.messages.stream(**body) as events:
                return events.get_final_message().to_dict(), events.response.headers
        raw = client.messages.with_raw_response.create(**body)
        return raw.parse().to_dict(), raw.headers

    with client:
        original, headers = message(stream=first)
        assert headers["x-headgate-cache"] == "miss"
        assert "age" not in headers
        stored, headers = message(stream=second)
    assert headers["x-headgate-cache"] == "hit"
    assert 0 <= int(headers["age"]) < 60
    assert headers["x-headgate-backend"] == "openrouter"
    for one in (original, stored):
        for block in one["content"]:
            block.pop("parsed_output", None)
            block.pop("citations", None)
            block.pop("caller", None)
        one["usage"].pop("cost", None)  # the SDK leaves it out of a stream's Message
        one["usage"] = {name: count for name, count in one["usage"].items() if count}
    assert stored["content"] == original["content"]
    assert stored["stop_reason"] == original["stop_reason"] == "tool_use"
    assert stored["usage"] == original["usage"]
    assert stored["id"] == original["id"]
    assert calls(openrouter) == 1


def test_a_replayed_stream_has_the_bytes_of_the_first(cached, openrouter):
    openrouter.script({"text": "one two three four five six", "chunk": 3, "times": 0})
    body = ask(stream=True)
    first = send(cached, body)
    for how in ("on", "on; replay=paced"):
        again = send(cached, body, x_headgate_cache=how)
        assert told(again) == "hit"
        assert again.content == first.content
        assert again.headers["content-type"].startswith("text/event-stream")
    assert calls(openrouter) == 1


@pytest.mark.parametrize(
    ("headers", "outcome", "asked"),
    [
        ({}, "hit", 1),
        ({"x_headgate_cache": "on"}, "hit", 1),
        ({"x_headgate_cache": "only"}, "hit", 1),
        ({"x_headgate_cache": "off"}, "bypass", 2),
        ({"x_headgate_cache": "refresh"}, "miss", 2),
        ({"cache_control": "no-store"}, "bypass", 2),
        ({"cache_control": "no-cache"}, "miss", 2),
        ({"cache_control": "max-age=0"}, "miss", 2),
        ({"cache_control": "max-age=60"}, "hit", 1),
        ({"cache_control": "only-if-cached"}, "hit", 1),
        ({"x_headgate_cache": "on; max-age=0.000001"}, "miss", 2),
    ],
)
def test_who_decides(cached, openrouter, headers, outcome, asked):
    body = ask()
    assert told(send(cached, body)) == "miss"
    assert told(send(cached, body, **headers)) == outcome
    assert calls(openrouter) == asked


def test_only_without_an_entry_is_not_found(cached, openrouter):
    for stream in (False, True):
        answer = send(cached, ask(stream=stream), x_headgate_cache="only")
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "not_found_error"
        assert told(answer) == "miss"
    assert calls(openrouter) == 0


def test_what_is_not_understood_is_refused(cached, openrouter):
    answer = send(cached, ask(), x_headgate_cache="on; tll=3")
    assert answer.status_code == 400
    assert told(answer) == "bypass"
    assert "tll" in answer.json()["error"]["message"]


def test_what_has_no_bearing_on_the_answer_does_not_matter(cached, openrouter):
    plain = ask(system=[{"type": "text", "text": "Be brief."}])
    billed = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=2"}
    marked = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    same = plain | {"metadata": {"user_id": "somebody"}, "system": [billed, marked]}
    assert told(send(cached, plain)) == "miss"
    assert told(send(cached, same, anthropic_beta="prompt-caching-2024-07-31")) == "hit"
    assert told(send(cached, plain | {"temperature": 0.5})) == "miss"
    assert told(send(cached, plain, anthropic_beta="another-beta-2025-01-01")) == "miss"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        {"text": "half a", "stop": "max_tokens"},
        {"text": "no", "stop": "refusal"},
        {"status": 500, "message": "broken"},
    ],
)
def test_only_complete_answers_are_stored(cached, openrouter, reply, stream):
    openrouter.script({**reply, "times": 0})
    body = ask(stream=stream)
    for _ in range(2):
        assert told(send(cached, body)) == "miss"
    openrouter.script({"text": "good"})
    assert told(send(cached, body)) == "miss"


def test_an_answer_that_breaks_off_is_not_stored(cached, openrouter):
    openrouter.script({"text": "this will break off", "chunk": 2, "fault": "reset", "after": 3})
    body = ask(stream=True)
    assert b"event: error" in send(cached, body).content
    openrouter.script({"text": "good"})
    assert told(send(cached, body)) == "miss"


def test_a_client_that_leaves_in_mid_stream_leaves_nothing(cached, openrouter):
    openrouter.script({"text": "a long answer " * 20, "chunk": 4, "delay": 0.05})
    body = ask(stream=True)
    with httpx.stream("POST", f"{cached.url}/v1/messages", json=body) as answer:
        next(answer.iter_bytes())
    openrouter.wait_closed(openrouter.requests()[0]["path"])
    openrouter.script({"text": "good"})
    assert told(send(cached, body)) == "miss"


def test_answers_pass_their_time(cached, openrouter):
    body = ask()
    assert told(send(cached, body, x_headgate_cache="on; ttl=0.05")) == "miss"
    time.sleep(0.06)
    assert told(send(cached, body)) == "miss"
    assert told(send(cached, body, x_headgate_cache="refresh; ttl=0")) == "miss"  # and is not stored


def test_a_stale_answer_is_given_while_it_is_asked_for_anew(cached, openrouter):
    body = ask()
    how = "on; ttl=0.05; stale=60"
    openrouter.script({"text": "old"}, {"text": "new", "first_delay": 3})
    assert told(send(cached, body, x_headgate_cache=how)) == "miss"
    time.sleep(0.06)
    for _ in range(3):
        stale = send(cached, body, x_headgate_cache=how)
        assert (told(stale), stale.headers["x-headgate-cache-note"]) == ("hit", "stale")
        assert stale.json()["content"][0]["text"] == "old"
    openrouter.wait_for(2, "chat", "messages")
    limit = time.monotonic() + 30
    while send(cached, body, x_headgate_cache=how).json()["content"][0]["text"] != "new":
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True])
def test_a_single_flight(cached, openrouter, stream):
    openrouter.script({"text": "one two three", "chunk": 3, "first_delay": 2, "delay": 0.02, "times": 0})
    body = ask(stream=stream)
    with ThreadPoolExecutor(5) as pool:
        sent = [pool.submit(send, cached, body, x_headgate_cache="on; single-flight") for _ in range(5)]
        answers = [one.result() for one in sent]
    assert calls(openrouter) == 1
    assert sorted(told(one) for one in answers) == ["hit"] * 4 + ["miss"]
    assert {one.headers.get("x-headgate-cache-note") for one in answers} == {None, "single-flight"}
    assert len({one.content for one in answers}) == 1
    assert told(send(cached, body)) == "hit"


@pytest.mark.parametrize("stream", [False, True])
def test_the_leader_of_a_flight_may_leave(cached, openrouter, stream):
    openrouter.script({"text": "one two three", "chunk": 3, "first_delay": 6, "delay": 0.05})
    body = ask(stream=stream)
    how = {"x-headgate-cache": "on; single-flight"}

    def lead() -> None:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{cached.url}/v1/messages", json=body, headers=how, timeout=2)

    leader = threading.Thread(target=lead)
    leader.start()
    openrouter.wait_for(1, "chat", "messages")
    followed = send(cached, body, x_headgate_cache="on; single-flight")
    leader.join()
    assert followed.status_code == 200
    assert told(followed) == "hit"
    assert b"event: error" not in followed.content
    again = send(cached, body)
    assert told(again) == "hit"
    assert again.content == followed.content
    assert calls(openrouter) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_word_the_cache_has_no_part(keyed, openrouter, stream):
    body = ask(stream=stream)
    for _ in range(2):
        answer = send(keyed, body, x_api_key=CLIENT)
        assert answer.status_code == 200
        assert told(answer) == "bypass"
    assert told(send(keyed, body, x_api_key=CLIENT, cache_control="no-cache")) == "bypass"
    assert calls(openrouter) == 3


def test_errors_say_what_the_cache_did(keyed, openrouter):
    openrouter.script({"status": 400, "message": "broken", "times": 0})
    key = {"x_api_key": CLIENT}
    assert told(send(keyed, ask(), **key)) == "bypass"
    assert told(send(keyed, ask(), **key, x_headgate_cache="on")) == "miss"
    assert told(send(keyed, ask(), **key, x_headgate_cache="off")) == "bypass"
    assert told(send(keyed, ask(), "/v1/cache/messages/stream", **key)) == "miss"
    for refused in (send(keyed, ask()), send(keyed, {"model": 3}, **key)):
        assert refused.status_code in {400, 401}
        assert told(refused) == "bypass"
    large = httpx.post(f"{keyed.url}/v1/messages", content=b"x" * (33 << 20), headers={"x-api-key": CLIENT})
    assert (large.status_code, told(large)) == (413, "bypass")
    for path in ("/v1/messages/count_tokens", "/v1/chat/completions"):
        assert told(send(keyed, ask(), path, **key)) is None


def test_tenants_do_not_share(keyed, openrouter):
    body = ask()
    how = {"x_headgate_cache": "on; tags=ours"}
    assert told(send(keyed, body, x_api_key=CLIENT, **how)) == "miss"
    assert told(send(keyed, body, x_api_key=OTHER, **how)) == "miss"
    assert told(send(keyed, body, authorization=f"Bearer {CLIENT}", **how)) == "hit"

    def listed(**headers: str) -> list[dict[str, Any]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = httpx.get(f"{keyed.url}/v1/cache/entries?tag=ours&bodies=1", headers=named)
        return list(answer.json()["data"])

    (own,) = listed(x_api_key=CLIENT)
    (others,) = listed(x_api_key=OTHER)
    assert own["tenant"] != others["tenant"]
    assert own["message"]["content"][0]["text"] == "Fine."
    both = listed(x_headgate_admin_key=ADMIN)
    assert {entry["tenant"] for entry in both} == {own["tenant"], others["tenant"]}
    assert not any("message" in entry for entry in both)
    mine = listed(x_headgate_admin_key=ADMIN, x_api_key=CLIENT)
    assert [entry["tenant"] for entry in mine if "message" in entry] == [own["tenant"]]
    assert httpx.get(f"{keyed.url}/v1/cache/entries").status_code == 401


def test_tenants_share_when_told_to(openrouter_process, openrouter):
    keys = {"HEADGATE_API_KEYS": f"{CLIENT},{OTHER}", "HEADGATE_ADMIN_KEYS": ADMIN}
    settings = {
        "HEADGATE_CACHE": "on",
        "HEADGATE_CACHE_SHARED": "1",
        "HEADGATE_CACHE_KEEP": "max_tokens,refusal",
    }
    openrouter.script({"text": "half", "stop": "max_tokens"})
    with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **keys, **settings) as gateway:
        body = ask()
        assert told(send(gateway, body, x_api_key=CLIENT)) == "miss"
        again = send(gateway, body, x_api_key=OTHER)
        assert told(again) == "hit"
        assert again.json()["stop_reason"] == "max_tokens"
        warmed = send(gateway, {"requests": [body]}, "/v1/cache/warm", x_api_key=ADMIN)
        assert warmed.json()["present"] == 1


def test_management_needs_an_admin_key(keyed):
    paths = ["stats", "configuration"]
    for path in paths:
        for headers in ({}, {"x-api-key": CLIENT}, {"x-headgate-admin-key": CLIENT}):
            assert httpx.get(f"{keyed.url}/v1/cache/{path}", headers=headers).status_code == 401
        for headers in ({"x-api-key": ADMIN}, {"authorization": f"Bearer {ADMIN}"}):
            assert httpx.get(f"{keyed.url}/v1/cache/{path}", headers=headers).status_code == 200
    for path in ("invalidate", "test", "warm"):
        assert send(keyed, {"all": True}, f"/v1/cache/{path}", x_api_key=CLIENT).status_code == 401
    assert httpx.get(f"{keyed.url}/v1/cache/health").status_code == 401
    for key in (CLIENT, ADMIN):
        assert httpx.get(f"{keyed.url}/v1/cache/health", headers={"x-api-key": key}).json()["status"] == "ok"


def test_warming_needs_the_client_whose_answers_these_are(keyed, openrouter):
    body = ask()
    asked = {"requests": [body, ask(), {"model": 3}]}
    assert send(keyed, asked, "/v1/cache/warm", x_api_key=ADMIN).status_code == 401
    for present in (0, 2):
        warmed = send(keyed, asked, "/v1/cache/warm", x_api_key=CLIENT, x_headgate_admin_key=ADMIN).json()
        assert (warmed["present"], warmed["stored"], warmed["failed"]) == (present, 2 - present, 1)
        assert warmed["errors"][0]["request"] == 2
    assert told(send(keyed, body, x_api_key=CLIENT, x_headgate_cache="on")) == "hit"
    assert told(send(keyed, body, x_api_key=OTHER, x_headgate_cache="on")) == "miss"
    assert calls(openrouter) == 3


def test_no_key_is_written_down(keyed, openrouter):
    body = ask()
    send(keyed, body, x_api_key=CLIENT, x_headgate_cache="on")
    assert told(send(keyed, body, x_api_key=CLIENT, x_headgate_cache="on")) == "hit"
    import hashlib

    tenant = hashlib.sha256(CLIENT.encode()).hexdigest()[:12]
    secrets = [CLIENT, OTHER, ADMIN, tenant, body["messages"][0]["content"], "sk-or-v1-ours"]
    folder = Path(keyed.folder.name) / "data" / "cache"
    stored = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert stored
    for secret in secrets:
        assert secret.encode() not in stored
        assert secret not in keyed.log()


def test_requests_do_not_fail_with_a_broken_store(openrouter_process, openrouter):
    with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", HEADGATE_CACHE="on") as gateway:
        folder = Path(gateway.folder.name) / "data" / "cache"
        database = folder / "cache.db"
        burnt = folder.parent / "burnt"
        body = ask()
        assert told(send(gateway, body)) == "miss"
        assert told(send(gateway, body)) == "hit"

        class Bomb:
            def __reduce__(self) -> Any:
                return (Path.touch, (burnt,))

        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute(
                "UPDATE Cache SET mode = 4, value = ? WHERE tag IS NOT NULL", (pickle.dumps(Bomb()),)
            )
        assert told(send(gateway, body)) == "miss"
        assert told(send(gateway, body)) == "hit"
        assert not burnt.exists()
        for spoil in (lambda: os.truncate(database, 5000), lambda: database.write_bytes(b"junk" * 9000)):
            spoil()
            for _ in range(6):
                answer = send(gateway, ask())
                assert answer.status_code == 200
                assert answer.json()["content"][0]["text"] == "Fine."
            limit = time.monotonic() + 30
            while told(send(gateway, body)) != "hit":
                assert time.monotonic() < limit, gateway.log()[-2000:]
                time.sleep(0.1)
        stats = httpx.get(f"{gateway.url}/v1/cache/stats").json()
        assert stats["failures"] + stats["refused"] >= 1


def test_a_gateway_without_a_folder_for_it_answers_uncached(openrouter_process, openrouter):
    with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", HEADGATE_CACHE="on") as gateway:
        (Path(gateway.folder.name) / "data").mkdir(exist_ok=True)
        (Path(gateway.folder.name) / "data" / "cache").write_text("a file where the folder should be")
        body = ask()
        for _ in range(2):
            answer = send(gateway, body)
            assert (answer.status_code, told(answer)) == (200, "miss")
        health = httpx.get(f"{gateway.url}/v1/cache/health").json()
        assert health["status"] == "degraded"
        assert "cache" in health["trouble"]
        for path in ("stats", "configuration"):
            assert httpx.get(f"{gateway.url}/v1/cache/{path}").status_code == 200
        assert httpx.get(f"{gateway.url}/v1/cache/entries").status_code == 529
        assert send(gateway, {}, "/v1/cache/test").status_code == 529


def test_answers_outlive_the_gateway(openrouter_process, openrouter, tmp_path):
    settings = {"HEADGATE_CACHE": "on", "HEADGATE_DATA_DIR": str(tmp_path / "data")}
    body = ask()
    for outcome in ("miss", "hit"):
        with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **settings) as gateway:
            assert told(send(gateway, body)) == outcome
    with gateway_on(
        openrouter_process, OPENROUTER_WIRE="chat", HEADGATE_THINKING="off", **settings
    ) as gateway:
        assert told(send(gateway, body)) == "miss"


@pytest.mark.redis
def test_machines_share_redis(openrouter_process, openrouter):
    body = ask()
    with redis_server() as url:
        settings = {"HEADGATE_CACHE": "on", "HEADGATE_CACHE_URL": url}
        for outcome in ("miss", "hit"):
            with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **settings) as gateway:
                assert told(send(gateway, body)) == outcome
                health = httpx.get(f"{gateway.url}/v1/cache/health").json()
                assert (health["status"], health["store"]) == ("ok", "redis")
        gateway = gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **settings).start()
    answer = send(gateway, body)  # Redis is gone
    health = httpx.get(f"{gateway.url}/v1/cache/health").json()
    gateway.stop()
    gateway.folder.cleanup()
    assert (answer.status_code, told(answer), health["status"]) == (200, "miss", "degraded")


def test_workers_share_the_store(openrouter_process, openrouter):
    settings = {"HEADGATE_CACHE": "on", "HEADGATE_WORKERS": "2"}
    with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **settings) as gateway:
        body = ask()
        first = send(gateway, body)
        limit = time.monotonic() + 60
        hits = 0
        while hits < 12:
            hits += told(send(gateway, body)) == "hit"
            assert time.monotonic() < limit
        assert first.status_code == 200
        assert calls(openrouter) <= 2
        assert httpx.get(f"{gateway.url}/v1/cache/entries").json()["data"][0]["asked"] == body["model"]
