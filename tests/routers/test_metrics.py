"""`/metrics` of a real server with two workers: its sums, its form, its bounds, and who may look."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.prometheus_lint import problems
from tests.routers.conftest import gateway_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.gateway import GatewayProcess
    from tests.fakes.handle import FakeOpenRouter

MODEL = "anthropic/claude-sonnet-4"
Labels = dict[str, str]


@pytest.fixture(scope="module")
def two_workers(openrouter_process: FakeOpenRouter) -> Iterator[GatewayProcess]:
    settings = {"HEADGATE_WORKERS": "2", "HEADGATE_METRICS_MODELS": "8", "HEADGATE_CACHE": "off"}
    with gateway_on(openrouter_process, OPENROUTER_WIRE="chat", **settings) as gateway:
        until(gateway, lambda one: one.total("headgate_workers") == 2, seconds=90)
        yield gateway


def ask(gateway: GatewayProcess, model: str = "big", *, stream: bool = False, **more: Any) -> httpx.Response:
    body = {
        "model": model, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": "Hi"}],
    } | more  # fmt: skip
    return httpx.post(f"{gateway.url}/v1/messages", json=body)  # a connection each, for either worker


def scrape(gateway: GatewayProcess, **headers: str) -> str:
    answer = httpx.get(f"{gateway.url}/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


class Samples:
    """An exposition's samples, to be summed over labels."""

    def __init__(self, text: str) -> None:
        self.samples = [one for family in text_string_to_metric_families(text) for one in family.samples]

    def total(self, name: str, **labels: str) -> float:
        return sum(
            one.value
            for one in self.samples
            if one.name == name and all(one.labels.get(key) == value for key, value in labels.items())
        )

    def labels(self, name: str) -> list[Labels]:
        return [one.labels for one in self.samples if one.name == name]


def until(gateway: GatewayProcess, met: Callable[[Samples], bool], seconds: float = 60) -> Samples:
    """Scrape until every worker has written what it counted."""
    limit = time.monotonic() + seconds
    while not met(samples := Samples(scrape(gateway))):
        assert time.monotonic() < limit, scrape(gateway)
        time.sleep(0.1)
    return samples


def test_the_workers_counts_are_added_up(two_workers: GatewayProcess, openrouter: FakeOpenRouter) -> None:
    usage = {"input": 100, "output": 20, "cached": 30, "reasoning": 5}
    openrouter.script({"text": "Yes.", "usage": usage, "times": 0})
    before = Samples(scrape(two_workers))

    def grown(now: Samples, name: str, **labels: str) -> float:
        return now.total(name, **labels) - before.total(name, **labels)

    with ThreadPoolExecutor(8) as pool:
        plain = list(pool.map(lambda _: ask(two_workers).status_code, range(24)))
        streamed = list(pool.map(lambda _: ask(two_workers, stream=True).status_code, range(16)))
    assert set(plain + streamed) == {200}
    now = until(two_workers, lambda one: grown(one, "headgate_requests_total", backend="openrouter") >= 40)
    kinds = {"backend": "openrouter", "model": MODEL, "status": "2xx"}
    assert grown(now, "headgate_requests_total", flow="messages", **kinds) == 24
    assert grown(now, "headgate_requests_total", flow="streaming", **kinds) == 16
    told = {
        "gen_ai_provider_name": "openrouter",
        "gen_ai_request_model": MODEL,
        "gen_ai_operation_name": "chat",
    }
    assert grown(now, "gen_ai_server_request_duration_seconds_count", error_type="", **told) == 40
    assert grown(now, "gen_ai_server_time_to_first_token_seconds_count", **told) == 16
    assert grown(now, "gen_ai_client_token_usage_count", gen_ai_token_type="output", **told) == 40
    seen = openrouter.requests("chat")[-1]
    assert seen["body"]["model"] == MODEL
    output = grown(now, "headgate_tokens_total", kind="output", model=MODEL)
    assert output == grown(now, "gen_ai_client_token_usage_sum", gen_ai_token_type="output", **told) > 0
    whole = sum(
        grown(now, "headgate_tokens_total", kind=kind) for kind in ("input", "cache_read", "cache_creation")
    )
    assert whole == grown(now, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **told) > 0
    assert grown(now, "headgate_cost_usd_total", model=MODEL) > 0
    assert now.total("headgate_workers") == 2
    assert now.total("headgate_backend_lanes", backend="openrouter", state="closed") == 2


def test_the_text_passes_the_linter(two_workers: GatewayProcess, openrouter: FakeOpenRouter) -> None:
    openrouter.script({"status": 400, "message": "no"})
    ask(two_workers, stream=True)
    ask(two_workers)
    httpx.post(f"{two_workers.url}/v1/messages/count_tokens", json={"model": "big", "messages": []})
    assert problems(scrape(two_workers)) == []


_DECREASING = """\
# HELP a A.
# TYPE a histogram
a_bucket{le="1.0"} 3
a_bucket{le="+Inf"} 2
a_count 2
a_sum 1
"""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n", "base unit"),
        ("# HELP a A.\n# TYPE a counter\na 1\n", "without _total"),
        ("# TYPE a gauge\na 1\n", "HELP or TYPE"),
        ("# HELP a A.\n# TYPE a gauge\na 1\na 2\n", "twice"),
        ("# HELP aB A.\n# TYPE aB gauge\naB 1\n", "snake case"),
        ("# HELP a_gauge A.\n# TYPE a_gauge gauge\na_gauge 1\n", "names its type"),
        ("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n", "ending of other types"),
        ('# HELP a A.\n# TYPE a gauge\na{x="1"} 1\na{y="1"} 1\n', "different labels"),
        (_DECREASING, "not cumulative"),
    ],
)
def test_the_linter_finds_what_is_wrong(text: str, problem: str) -> None:
    assert any(problem in found for found in problems(text))


def test_openmetrics_is_given_to_who_asks_for_it(two_workers: GatewayProcess) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

    answer = httpx.get(
        f"{two_workers.url}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "headgate_requests" in {family.name for family in parse(answer.text)}


def test_errors_are_told_apart(two_workers: GatewayProcess, openrouter: FakeOpenRouter) -> None:
    before = Samples(scrape(two_workers))
    openrouter.script({"status": 400, "message": "a secret prompt", "times": 0})
    assert ask(two_workers).status_code == 400
    now = until(
        two_workers,
        lambda one: (
            one.total("headgate_requests_total", status="4xx", backend="openrouter")
            > before.total("headgate_requests_total", status="4xx", backend="openrouter")
        ),
    )
    name = "gen_ai_server_request_duration_seconds_count"
    assert now.total(name, error_type="InvalidRequest") > before.total(name, error_type="InvalidRequest")
    assert "secret" not in scrape(two_workers)


def test_names_that_clients_make_up_are_bounded(openrouter: FakeOpenRouter) -> None:
    with gateway_on(openrouter, HEADGATE_METRICS_MODELS="8", HEADGATE_WORKERS="2") as gateway:
        hostile = ['a"b\\c', "new\nline", "x" * 5000, '{le="1"}', "\u2028", "emoji 🙂"]
        names = [*hostile, *(f"made-up-{number}" for number in range(60))]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: ask(gateway, name), names))
        samples = until(gateway, lambda one: one.total("headgate_requests_total") >= len(names))
        models = {labels["model"] for labels in samples.labels("headgate_requests_total")}
        assert samples.total("headgate_requests_total") == len(names)
        assert len(models) <= 9
        assert "other" in models
        assert problems(scrape(gateway)) == []


def test_a_dead_workers_counts_stay_and_its_gauges_go(openrouter: FakeOpenRouter) -> None:
    with gateway_on(openrouter, HEADGATE_WORKERS="2") as gateway:
        until(gateway, lambda one: one.total("headgate_workers") == 2, seconds=90)
        for _ in range(12):
            ask(gateway)
        until(gateway, lambda one: one.total("headgate_requests_total") == 12)
        processes = httpx.get(f"{gateway.url}/health/detailed").json()["processes"]
        until(gateway, lambda one: one.total("process_cpu_seconds_total", process="web-0") > 0)
        os.kill(processes["web-0"]["pid"], signal.SIGKILL)
        until(gateway, lambda one: one.total("headgate_workers") == 1)
        samples = until(gateway, lambda one: one.total("headgate_workers") == 2, seconds=90)
        assert samples.total("headgate_requests_total") == 12
        for _ in range(6):
            ask(gateway)
        samples = until(gateway, lambda one: one.total("headgate_requests_total") == 18)
        assert samples.total("headgate_backend_lanes", backend="openrouter") == 2


def test_open_streams_are_counted_while_they_are_open(
    two_workers: GatewayProcess, openrouter: FakeOpenRouter
) -> None:
    openrouter.script({"text": "slow " * 200, "delay": 0.2})
    body = {"model": "big", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.stream("POST", f"{two_workers.url}/v1/messages", json=body) as answer:
        pieces = answer.iter_bytes()  # httpx hangs up when nobody holds it
        next(pieces)
        until(two_workers, lambda one: one.total("headgate_streams_open") == 1)
        until(two_workers, lambda one: one.total("headgate_backend_calls_running", backend="openrouter") == 1)
    samples = until(two_workers, lambda one: one.total("headgate_streams_open") == 0)
    assert samples.total("headgate_requests_total", status="cancelled") >= 1


def test_only_who_has_a_key_may_look(openrouter: FakeOpenRouter) -> None:
    with gateway_on(openrouter, HEADGATE_API_KEYS="client-key", HEADGATE_ADMIN_KEYS="admin-key") as gateway:
        for path in ("/metrics", "/tool-metrics"):
            refused = httpx.get(f"{gateway.url}{path}")
            assert refused.status_code == 401
            assert refused.json()["error"]["type"] == "authentication_error"
            for headers in ({"authorization": "Bearer client-key"}, {"x-headgate-admin-key": "admin-key"}):
                assert httpx.get(f"{gateway.url}{path}", headers=headers).status_code == 200
        text = scrape(gateway, authorization="Bearer client-key")
        assert Samples(text).total("headgate_refused_keys_total") == 2
        assert "client-key" not in text
        assert "admin-key" not in text


def test_metrics_that_are_off_are_not_found(openrouter: FakeOpenRouter) -> None:
    with gateway_on(openrouter, HEADGATE_METRICS="off") as gateway:
        assert ask(gateway).status_code == 200
        answer = httpx.get(f"{gateway.url}/metrics")
    assert answer.status_code == 404
    assert "HEADGATE_METRICS" in answer.json()["error"]["message"]


def test_tools_are_counted_by_name_and_model(two_workers: GatewayProcess) -> None:
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("Read", "Bash")]
    calls = [{"type": "tool_use", "id": f"toolu_{n}", "name": "Bash", "input": {}} for n in range(2)]
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": "toolu_0", "content": "fine"},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "boom", "is_error": True},
    ]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ]
    assert ask(two_workers, messages=messages, tools=tools).status_code == 200
    limit = time.monotonic() + 60
    while not (told := httpx.get(f"{two_workers.url}/tool-metrics").json()["tools"]):
        assert time.monotonic() < limit
        time.sleep(0.1)
    bash, read = told
    assert bash == {
        "name": "Bash", "declared": 1, "called": 2, "failed": 1, "failure_rate": 0.5,
        "models": [{"model": MODEL, "declared": 1, "called": 2, "failed": 1, "failure_rate": 0.5}],
    }  # fmt: skip
    assert (read["name"], read["declared"], read["called"], read["failure_rate"]) == ("Read", 1, 0, None)
