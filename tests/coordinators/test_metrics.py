"""What is counted of requests, and how it is shared, without a server."""

from __future__ import annotations

import multiprocessing
import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from coordinators import counted
from coordinators.bounded_names import OTHER, BoundedNames
from coordinators.counted import add
from coordinators.metric_families import request_families
from coordinators.metrics import Metrics
from coordinators.observing import Ending
from coordinators.tool_counts import ToolCounts
from coordinators.worker_files import WorkerFiles
from express import Run
from tasks.backend import Target
from tasks.exchange import Exchange
from wire.errors import Overloaded

if TYPE_CHECKING:
    from pathlib import Path


def ending(model: str = "m", *, status: int = 200, body: Any = None, **more: Any) -> Ending:
    exchange = Exchange("req_1", {}, b"{}", {"model": model, **(body or {})})
    tried = more.pop("tried", [Target(model, model, "chat", "KEY")])
    exchange.tried += tried
    exchange.attempts = more.pop("attempts", len(tried))
    exchange.cache = more.pop("cache", None)
    error = Overloaded("full") if status >= 400 else None
    flow = more.pop("flow", "messages")
    return Ending(
        exchange, flow, status, more.pop("ms", 300.0), more, error, Run("x", name="x").id, "x", False,
        Run("x", name="x"),
    )  # fmt: skip


def metrics_in(folder: Path, models: int = 50) -> Metrics:
    return Metrics(folder, models=models, look=dict, counters=dict)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    counts, _ = metrics.read()
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in request_families(counts)
        for one in family.samples
    }


def total(metrics: Metrics, name: str, **labels: str) -> float:
    return sum(
        value
        for (one, told), value in samples(metrics).items()
        if one == name and labels.items() <= dict(told).items()
    )


def test_a_request_is_counted_with_all_that_is_known_of_it(tmp_path):
    metrics = metrics_in(tmp_path)
    spent = {
        "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": None, "reasoning_tokens": 2, "cost_usd": 0.25, "ttft_ms": 70.0,
    }  # fmt: skip
    metrics.ended(ending("m", ms=1500.0, attempts=3, flow="streaming", **spent))
    metrics.write()
    assert total(metrics, "headgate_requests_total", flow="streaming", backend="openrouter", model="m") == 1
    kinds = {kind: total(metrics, "headgate_tokens_total", kind=kind) for kind in counted.KINDS}
    assert kinds == {"input": 10, "output": 5, "cache_read": 100, "cache_creation": 0, "reasoning": 2}
    assert total(metrics, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 110
    assert total(metrics, "gen_ai_client_token_usage_bucket", gen_ai_token_type="input", le="64.0") == 0
    assert total(metrics, "gen_ai_client_token_usage_bucket", gen_ai_token_type="input", le="256.0") == 1
    assert total(metrics, "headgate_cost_usd_total") == 0.25
    assert total(metrics, "headgate_retries_total") == 2
    assert total(metrics, "gen_ai_server_request_duration_seconds_sum") == 1.5
    assert total(metrics, "gen_ai_server_request_duration_seconds_bucket", le="1.28") == 0
    assert total(metrics, "gen_ai_server_request_duration_seconds_bucket", le="2.56") == 1
    assert total(metrics, "gen_ai_server_time_to_first_token_seconds_sum") == 0.07
    assert total(metrics, "gen_ai_server_time_to_first_token_seconds_bucket", le="0.08") == 1


@pytest.mark.parametrize("odd", [10**30, -5, float("nan"), float("inf"), "12", [1], {"a": 1}])
def test_what_no_answer_can_have_used_is_not_counted(tmp_path, odd):
    metrics = metrics_in(tmp_path)
    metrics.ended(ending(input_tokens=odd, output_tokens=odd, cost_usd=odd))
    metrics.write()
    assert total(metrics, "headgate_requests_total") == 1
    assert total(metrics, "headgate_tokens_total") == total(metrics, "headgate_cost_usd_total") == 0


def test_a_boundary_belongs_to_its_own_bucket(tmp_path):
    metrics = metrics_in(tmp_path)
    metrics.ended(ending(ms=10.0))  # `le`: less or equal
    metrics.write()
    assert total(metrics, "gen_ai_server_request_duration_seconds_bucket", le="0.01") == 1


def test_what_the_cache_gave_is_not_paid_again(tmp_path):
    metrics = metrics_in(tmp_path)
    use = SimpleNamespace(outcome="hit", tags=["cache:hit", "cache:stale"])
    metrics.ended(ending(tried=[], cache=use, output_tokens=5, input_tokens=3, cost_usd=1.0))
    metrics.write()
    assert total(metrics, "headgate_requests_total", backend="cache", model="m") == 1
    assert total(metrics, "headgate_cache_requests_total", outcome="hit", note="stale") == 1
    assert total(metrics, "headgate_tokens_total") == total(metrics, "headgate_cost_usd_total") == 0


def test_a_fallback_is_counted_for_who_came_last(tmp_path):
    metrics = metrics_in(tmp_path)
    tried = [Target("m", "m", "chat", "KEY"), Target("m", "n", "chat", "KEY", "databricks")]
    metrics.ended(ending(tried=tried, attempts=4))
    metrics.write()
    assert total(metrics, "headgate_fallbacks_total", backend="databricks", model="n") == 1
    assert total(metrics, "headgate_retries_total", backend="databricks", model="n") == 2


def test_who_left_is_no_error_of_a_client(tmp_path):
    metrics = metrics_in(tmp_path)
    metrics.ended(ending())
    metrics.ended(ending(status=499))
    metrics.write()
    assert total(metrics, "headgate_requests_total", status="cancelled") == 1
    name = "gen_ai_server_request_duration_seconds_count"
    assert total(metrics, name, error_type="cancelled") == 1


def test_ten_thousand_names_are_not_as_many_cells(tmp_path):
    metrics = metrics_in(tmp_path, models=20)
    for number in range(10_000):
        metrics.ended(ending(f"made-up-{number}"))
        metrics.ended(ending(f"refused-{number}", status=404))
    metrics.write()
    models = {
        dict(labels).get("model") for name, labels in samples(metrics) if name == "headgate_requests_total"
    }
    assert len(models) == 21
    assert not any(model.startswith("refused") for model in models)
    assert total(metrics, "headgate_requests_total") == 20_000
    assert total(metrics, "headgate_requests_total", model=OTHER) == 20_000 - 20


def test_two_workers_admit_the_same_names(tmp_path):
    one, two = (BoundedNames(tmp_path / "names", 3, ["given"]) for _ in range(2))
    assert [one.admit("a"), two.admit("b"), one.admit("c"), two.admit("c")] == ["a", "b", OTHER, OTHER]
    assert two.admit("a") == "a"
    assert one.known("b") == OTHER or one.admit("b") == "b"
    later = BoundedNames(tmp_path / "names", 3)
    assert [later.known(name) for name in ("given", "a", "b", "c")] == ["given", "a", "b", OTHER]


@pytest.mark.parametrize("name", ["", "x" * 500, "a\nb", "a\x1fb", "\ud800"])
def test_names_that_are_none_are_others(tmp_path, name):
    assert BoundedNames(tmp_path / "names", 3).admit(name) == OTHER


def test_a_name_that_was_written_in_part_is_passed_over(tmp_path):
    (tmp_path / "names").write_bytes(b'"a"\n"b')
    assert BoundedNames(tmp_path / "names", 3).known("a") == "a"


def test_label_values_are_escaped(tmp_path):
    metrics = metrics_in(tmp_path)
    metrics.ended(ending('a"b\\c{d="e"}'))
    metrics.write()

    class All(Collector):
        def collect(self):
            return request_families(metrics.read()[0])

    from prometheus_client import generate_latest
    from prometheus_client.parser import text_string_to_metric_families

    registry = CollectorRegistry()
    registry.register(All())
    families = text_string_to_metric_families(generate_latest(registry).decode())
    assert {
        one.labels["model"] for family in families for one in family.samples if "model" in one.labels
    } == {'a"b\\c{d="e"}'}


def _count_and_wait(folder: Path, ready: Any) -> None:
    files = WorkerFiles(folder)
    files.write({"counts": {"more": {"n": 7}}, "now": {"streams_open": 3}})
    ready.send(files.name)
    signal.pause()


def test_a_killed_worker_is_known_to_be_dead_and_what_it_counted_stays(tmp_path):
    context = multiprocessing.get_context("spawn")
    mine = WorkerFiles(tmp_path)
    mine.write({"counts": {"more": {"n": 1}}, "now": {"streams_open": 1}})
    here, there = context.Pipe()
    other = context.Process(target=_count_and_wait, args=(tmp_path, there))
    other.start()
    name = here.recv()
    counts, now = mine.read()
    assert counts["more"] == {"n": 8}
    assert sorted(now) == sorted([mine.name, name])
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    counts, now = mine.read()
    assert (counts["more"], list(now)) == ({"n": 8}, [mine.name])
    third = WorkerFiles(tmp_path)  # folds what the dead one left
    assert not (tmp_path / f"{name}.json").exists()
    counts, now = mine.read()
    assert counts["more"] == {"n": 8}
    for files in (mine, third):
        files.close()
    fourth = WorkerFiles(tmp_path)
    assert fourth.read() == ({"more": {"n": 8}}, {})
    fourth.close()


def test_a_fold_that_was_cut_short_counts_nothing_twice(tmp_path):
    dead = WorkerFiles(tmp_path)
    dead.write({"counts": {"more": {"n": 7}}, "now": {}})
    dead.close()
    gone = {"counts": {"more": {"n": 7}}, "folded": [dead.name]}
    (tmp_path / "gone.json").write_bytes(orjson.dumps(gone))
    reader = WorkerFiles.__new__(WorkerFiles)
    reader._folder, reader.name = tmp_path, "reader"
    assert reader.read()[0] == {"more": {"n": 7}}
    after = WorkerFiles(tmp_path)
    assert after.read()[0] == {"more": {"n": 7}}
    after.close()


def test_junk_in_the_folder_is_no_count(tmp_path):
    files = WorkerFiles(tmp_path)
    for text in (b"{", b"[1]", b""):
        (tmp_path / f"{files.name}.json").write_bytes(text)
        assert files.read() == ({}, {})
    files.close()


def test_a_folder_that_cannot_be_written_loses_nothing(tmp_path):
    metrics = metrics_in(tmp_path)
    metrics.ended(ending())
    name = metrics._files.name
    (tmp_path / f"{name}.partial").mkdir()
    metrics.write()
    assert metrics.read()[0] == {}
    (tmp_path / f"{name}.partial").rmdir()
    metrics.write()
    assert total(metrics, "headgate_requests_total") == 1


def test_adding_up_takes_numbers_lists_and_mappings():
    sums: dict[str, Any] = {"a": 1, "b": [1, 2], "c": {"d": 1}}
    add(sums, {"a": 2, "b": [3, 4], "c": {"d": 1, "e": [5]}, "f": 6})
    assert sums == {"a": 3, "b": [4, 6], "c": {"d": 2, "e": [5]}, "f": 6}


def test_an_openai_clients_tools_are_counted_as_the_messages_request_they_are(tmp_path):
    tools = ToolCounts(BoundedNames(tmp_path / "tools", 2))
    one = ending(body={"tools": [{"type": "function", "function": {"name": "f"}}]})
    one.exchange.canonical = {"tools": [{"name": "f"}], "messages": []}
    tools.note(one, "m")
    assert tools.counts == {"f": {"m": [1, 0, 0]}}


_RESULT = {"type": "tool_result", "tool_use_id": "a"}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": {"a": 1}},
        {"tools": ["x", {"name": 5}]},
        {"tools": [{}], "messages": 5},
        {
            "tools": [{}],
            "messages": ["x", {"role": "assistant", "content": 3}, {"content": [{"type": "tool_result"}]}],
        },
        {
            "tools": [{}],
            "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}],
        },
    ],
)
def test_odd_bodies_are_no_tools(tmp_path, body):
    tools = ToolCounts(BoundedNames(tmp_path / "tools", 2))
    tools.note(ending(body=body), "m")
    assert tools.counts == {}


def test_tools_that_clients_make_up_are_bounded(tmp_path):
    tools = ToolCounts(BoundedNames(tmp_path / "tools", 2))
    for number in range(1000):
        tools.note(ending(body={"tools": [{"name": f"t{number}"}]}), "m")
    assert {name: count["m"][0] for name, count in tools.counts.items()} == {"t0": 1, "t1": 1, OTHER: 998}
