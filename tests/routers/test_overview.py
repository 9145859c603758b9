"""`/overview` of real servers: what it shows, to whom, and that nothing a stranger wrote runs in it."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeOpenRouter

UPSTREAMS = "<svg/onload=alert(7)>{{7*7}}</td></table><b>words of an upstream"
HOSTILE = "<img src=x onerror=alert(1)>\"'</section><script>alert(2)</script>{{7*7}}"
LAST = "javascript:alert(3)//"


class Parsed(HTMLParser):
    """The page as a browser reads it: its tags, and its text by section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        elif tag in {"td", "th"}:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        self.text[self._section] = self.text.get(self._section, "") + data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def ask(gateway: GatewayProcess, model: str = "big", text: str = "Hi", **more: Any) -> httpx.Response:
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}
    return httpx.post(f"{gateway.url}/v1/messages", json=body)


def page_of(gateway: GatewayProcess, **headers: str) -> httpx.Response:
    return httpx.get(f"{gateway.url}/overview", headers=headers)


def until(gateway: GatewayProcess, holds: Callable[[Parsed], bool], seconds: float = 60) -> Parsed:
    limit = time.monotonic() + seconds
    while True:
        parsed = Parsed(page_of(gateway).text)
        if holds(parsed):
            return parsed
        assert time.monotonic() < limit, parsed.text
        time.sleep(0.3)


@pytest.fixture(scope="module")
def seen(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    # no Prefect is there, but its address is: links lead to it
    settings = {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "HEADGATE_RUNS": "express",
        "HEADGATE_RETRIES": "0",
    }
    with gateway_on(openrouter_process, whole=True, OPENROUTER_WIRE="chat", **settings) as gateway:
        yield gateway


def test_strangers_words_are_only_words(seen, openrouter):
    assert ask(seen, HOSTILE).status_code == 200
    openrouter.script({"status": 502, "message": UPSTREAMS})
    assert ask(seen).status_code == 500
    assert ask(seen, LAST).status_code == 200
    batch = {
        "requests": [{"custom_id": "one", "params": {"model": HOSTILE, "max_tokens": 1, "messages": []}}]
    }
    name = {"x-headgate-batch-name": "%3Cscript%3Ealert%284%29%3C%2Fscript%3E"}
    made = httpx.post(f"{seen.url}/v1/messages/batches", json=batch, headers=name, timeout=60)
    assert made.status_code == 200, made.text
    page = until(seen, lambda page: LAST in page.text["requests"] and "alert(4)" in page.text["batches"])
    assert HOSTILE in page.text["requests"]
    assert HOSTILE in page.text["hour"]  # its cost
    until(seen, lambda page: UPSTREAMS in page.text["errors"], 30)
    until(seen, lambda page: HOSTILE[:79] in page.text["days"], 30)
    answer = page_of(seen)
    page = Parsed(answer.text)
    nonce = re.search(r"script-src 'nonce-([^']+)'", answer.headers["content-security-policy"])
    assert nonce
    assert [attrs.get("nonce") for attrs in page.named("script")] == [nonce[1]]
    assert {tag for tag, _ in page.tags} & {"img", "iframe", "object", "embed", "base", "form"} == set()
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], (tag, attrs)
        assert not str(attrs.get("href", "")).startswith("javascript:")
    assert "{{7*7}}" in page.text["errors"]


def test_a_request_under_way_is_listed_until_it_ends(seen, openrouter):
    openrouter.script({"text": "One two three four five six.", "delay": 0.7})
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask, seen, "openai/gpt-5-slow", stream=True)
        page = until(seen, lambda page: "openai/gpt-5-slow" in page.text["requests"])
        assert not asked.done()
        assert re.search(r"streaming\s+openai/gpt-5-slow\s+openrouter\s+1\s+run", page.text["requests"])
        assert asked.result().status_code == 200
    page = until(seen, lambda page: not re.search(r"streaming\s+openai/gpt-5-slow", page.text["requests"]))
    until(seen, lambda page: "openai/gpt-5-slow" in page.text["requests"])  # among those that ended


def test_a_request_has_its_row(seen, openrouter):
    openrouter.script({"text": "Fine.", "usage": {"input": 1234, "output": 56, "cost": 0.25}})
    assert ask(seen, "openai/gpt-5-row", stream=True).status_code == 200
    page = until(seen, lambda page: "openai/gpt-5-row" in page.text["requests"])
    row = page.text["requests"].split("openai/gpt-5-row")[1][:200]
    assert re.search(r"openrouter\s+1\u202f234\s+56\s+\$0\.2500\s+\d+ ms\s+\d+ ms", row), row
    links = [str(attrs["href"]) for attrs in page.named("a")]
    run = re.compile(r"http://127\.0\.0\.1:9/runs\?flow-run-search=streaming-req_\w+")
    assert any(run.fullmatch(link) for link in links), links


def test_a_model_has_its_days(seen, openrouter):
    openrouter.script({"text": "Fine.", "usage": {"input": 12_345, "output": 67, "cost": 1.5}})
    assert ask(seen, "openai/gpt-5-days").status_code == 200
    page = until(seen, lambda page: "openai/gpt-5-days" in page.text["days"], 30)
    today = datetime.now(UTC).date().isoformat()
    numbers = r"1\s+0\s+[\d.]+ m?s\s+([\d\u202f]+)\s+67\s+(\S+)"
    row = re.search(rf"{today}\s+openai/gpt-5-days\s+{numbers}", page.text["days"])
    assert row is not None, page.text["days"]
    assert row.groups() == ("12\u202f345", "$1.50")


def test_a_database_that_is_down_leaves_a_sentence(openrouter):
    down = {
        "DATABASE_URL": "postgresql://me:secret@127.0.0.1:9/usage",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    with gateway_on(openrouter, OPENROUTER_WIRE="chat", **down) as gateway:
        assert ask(gateway, "openai/gpt-5-kept").status_code == 200
        page = until(gateway, lambda page: "openai/gpt-5-kept" in page.text["requests"])
        page = until(gateway, lambda page: "does not answer now" in page.text["days"], 40)
        assert "svg" in {tag for tag, _ in page.tags}  # the last hour's
        assert "secret" not in page_of(gateway).text
        limit = time.monotonic() + 40
        while (parts := httpx.get(f"{gateway.url}/health/detailed").json()["parts"])["traces"][
            "state"
        ] != "degraded":
            assert time.monotonic() < limit, parts["traces"]
            time.sleep(0.1)
        assert parts["usage_store"]["state"] == "down"
        assert "see the log" in parts["usage_store"]["last_error"]


def test_the_page_has_structure(seen):
    answer = page_of(seen)
    page = Parsed(answer.text)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert policy != page_of(seen).headers["content-security-policy"]
    assert page.named("html") == [{"lang": "en"}]
    ids = [str(attrs["id"]) for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby",):
        assert {str(attrs[name]) for _, attrs in page.tags if name in attrs} <= set(ids)
    assert len(page.named("caption")) == len(page.named("table"))
    assert page.named("a")[0] == {"class": "skip", "href": "#main"}
    anchors = {str(attrs["href"])[1:] for attrs in page.named("a") if str(attrs["href"]).startswith("#")}
    assert anchors <= set(ids)
    assert not [attrs for _, attrs in page.tags if str(attrs.get("src", "")).startswith("http")]


def test_changes_come_as_events(seen, openrouter):
    with httpx.stream("GET", f"{seen.url}/overview/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told: list[dict[str, str]] = []
        for line in answer.iter_lines():
            if not line.startswith("data: "):
                continue
            told.append(json.loads(line.removeprefix("data: ")))
            if len(told) == 1:
                assert set(told[0]) == {
                    "now", "requests", "hour", "days", "errors", "parts", "cache", "batches"
                }  # fmt: skip
                ask(seen, "openai/gpt-5-live")
            elif "openai/gpt-5-live" in told[-1].get("requests", ""):
                break
    assert "batches" not in told[-1]  # only what changed


def test_another_host_name_or_origin_is_refused(seen):
    assert page_of(seen, host="evil.example").status_code == 403
    assert page_of(seen, origin="http://evil.example").status_code == 403
    answer = httpx.get(f"{seen.url}/overview/events", headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"


def test_without_a_request_log_each_process_keeps_its_own(openrouter):
    with gateway_on(openrouter, OPENROUTER_WIRE="chat", HEADGATE_REQUEST_LOG="off") as gateway:
        ask(gateway, "openai/gpt-5-kept")
        page = until(gateway, lambda page: "openai/gpt-5-kept" in page.text["requests"])
        assert "sk-or-v1-ours" not in page_of(gateway).text
        assert page.text["requests"].count("openai/gpt-5-kept") == 1


def test_two_processes_show_the_same(openrouter):
    with gateway_on(openrouter, OPENROUTER_WIRE="chat", HEADGATE_WORKERS="2") as gateway:
        for number in range(8):
            ask(gateway, f"openai/gpt-5-{number}")
        every = [f"openai/gpt-5-{number}" for number in range(8)]
        for _ in range(6):  # a connection each: either process
            until(gateway, lambda page: all(name in page.text["requests"] for name in every))


@pytest.fixture(scope="module")
def keyed(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    settings = {"HEADGATE_API_KEYS": "client-key", "HEADGATE_ADMIN_KEYS": "admin-key"}
    with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **settings) as gateway:
        yield gateway


def test_with_keys_it_is_for_managers(keyed):
    refused = page_of(keyed)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert page_of(keyed, **{"x-api-key": "client-key"}).status_code == 401
    assert page_of(keyed, **{"x-headgate-admin-key": "admin-key"}).status_code == 200
    for path in ("/overview", "/overview/events"):
        assert httpx.get(keyed.url + path, auth=("me", "client-key")).status_code == 401
        assert httpx.get(keyed.url + path, headers={"authorization": "Basic !"}).status_code == 401
    page = httpx.get(f"{keyed.url}/overview", auth=("me", "admin-key"))
    assert page.status_code == 200
    assert "/debug/" not in page.text  # a browser could not go on there
    # a password is for looking only
    assert httpx.get(f"{keyed.url}/debug/server/instance", auth=("me", "admin-key")).status_code == 401
    assert httpx.get(f"{keyed.url}/health/claude-code", auth=("me", "admin-key")).status_code == 401
