"""Counts as Prometheus metrics: names, units, labels and help; GenAI's conventions where they name one."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from coordinators import counted
from coordinators.genai import operation_of, provider_of
from coordinators.metrics import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.core import Metric

    from coordinators.counted import Cell, Key

_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


def request_families(counts: Mapping[str, Any]) -> Iterable[Metric]:
    """Give what was counted of requests."""
    cells = {key_of(name): cell for name, cell in counts.get("cells", {}).items()}
    yield _requests(cells)
    yield _durations(cells)
    yield _first_tokens(cells)
    yield _token_usage(cells)
    yield _tokens(cells)
    yield _counter(
        "headgate_cost_usd", "Cost of answers in US dollars, as far as it is known.", cells, counted.COST
    )
    yield _counter(
        "headgate_retries",
        "Calls made again to the backend that was already asked.",
        cells,
        counted.RETRIES,
    )
    yield _counter(
        "headgate_fallbacks",
        "Times that the next backend or model was asked; the labels name the last one.",
        cells,
        counted.FALLBACKS,
    )
    yield _cache(counts.get("more", {}))
    for name, (metric, text) in _MORE.items():
        family = CounterMetricFamily(metric, text)
        family.add_metric((), counts.get("more", {}).get(name, 0))
        yield family


_MORE = {
    "refused": ("headgate_refused_keys", "Requests turned away because of their client key."),
    "limited": ("headgate_limited_requests", "Requests turned away by the limits of their client key."),
    "runs_dropped": ("headgate_runs_dropped", "Runs that found no room on their way to the recorder."),
    "traces_sent": ("headgate_traces_sent", "Traces that a collector took."),
    "traces_dropped": ("headgate_traces_dropped", "Traces lost: no room, or no collector took them."),
    "traces_sampled_out": ("headgate_traces_sampled_out", "Traces left out because there were too many."),
}
"""Counters that others keep, by their names in a worker's document."""


def _sum(
    cells: Mapping[Key, Cell], label: Callable[[Key], tuple[str, ...] | None]
) -> dict[tuple[str, ...], Cell]:
    """Add up the cells that have the same labels; those without any are left out."""
    sums: dict[tuple[str, ...], Cell] = {}
    for key, cell in cells.items():
        labels = label(key)
        if labels is not None:
            known = sums.get(labels)
            sums[labels] = [*cell] if known is None else [a + b for a, b in zip(known, cell, strict=True)]
    return sums


def status_class(status: int) -> str:
    """Give `2xx`, `4xx`, `5xx`; `cancelled` for a client that left."""
    return counted.CANCELLED if status == 499 else f"{status // 100}xx"


def _requests(cells: Mapping[Key, Cell]) -> Metric:
    family = CounterMetricFamily(
        "headgate_requests",
        "Requests that ended, by flow, backend, model and class of HTTP status.",
        labels=("flow", "backend", "model", "status"),
    )
    for labels, cell in _sum(cells, lambda key: (*key[:3], status_class(key[3]))).items():
        family.add_metric(labels, cell[counted.REQUESTS])
    return family


def _durations(cells: Mapping[Key, Cell]) -> Metric:
    family = HistogramMetricFamily(
        "gen_ai_server_request_duration_seconds",
        "Time from a request's arrival to the last byte of its answer.",
        labels=(*_GEN_AI, "error_type"),
    )
    for labels, cell in _sum(cells, lambda key: (*_gen_ai(key), key[4])).items():
        bounds = counted.DURATION_BOUNDS
        _add(family, labels, bounds, cell[counted.DURATIONS : counted.FIRSTS], cell[counted.SECONDS])
    return family


def _first_tokens(cells: Mapping[Key, Cell]) -> Metric:
    family = HistogramMetricFamily(
        "gen_ai_server_time_to_first_token_seconds",
        "Time from a request's arrival to the first event of its stream, for streams that ended well.",
        labels=_GEN_AI,
    )
    for labels, cell in _sum(cells, _gen_ai).items():
        buckets = cell[counted.FIRSTS : counted.INPUTS]
        if any(buckets):
            _add(family, labels, counted.FIRST_BOUNDS, buckets, cell[counted.FIRST_SECONDS])
    return family


def _token_usage(cells: Mapping[Key, Cell]) -> Metric:
    family = HistogramMetricFamily(
        "gen_ai_client_token_usage",
        "Tokens of an answer from upstream: all input, cached or not, and output.",
        labels=(*_GEN_AI, "gen_ai_token_type"),
    )
    for labels, cell in _sum(cells, _gen_ai).items():
        tokens = dict(zip(counted.KINDS, cell[counted.TOKENS : counted.DURATIONS], strict=True))
        whole = tokens["input"] + tokens["cache_read"] + tokens["cache_creation"]
        inputs, outputs = cell[counted.INPUTS : counted.OUTPUTS], cell[counted.OUTPUTS :]
        if any(outputs):
            _add(family, (*labels, "input"), counted.TOKEN_BOUNDS, inputs, whole)
            _add(family, (*labels, "output"), counted.TOKEN_BOUNDS, outputs, tokens["output"])
    return family


def _gen_ai(key: Key) -> tuple[str, ...]:
    flow, backend, model, _, _ = key
    return operation_of(flow), provider_of(backend), model


def _add(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    bounds: Sequence[float],
    buckets: Sequence[float],
    total: float,
) -> None:
    names = [*map(floatToGoString, bounds), "+Inf"]
    family.add_metric(labels, list(zip(names, accumulate(buckets), strict=True)), total)


def _tokens(cells: Mapping[Key, Cell]) -> Metric:
    family = CounterMetricFamily(
        "headgate_tokens",
        "Tokens of answers from upstream, as Anthropic counts: input is what no prompt cache had or took, "
        "reasoning is part of output.",
        labels=("backend", "model", "kind"),
    )
    for labels, cell in _sum(cells, _upstream).items():
        for kind, count in zip(counted.KINDS, cell[counted.TOKENS : counted.DURATIONS], strict=True):
            family.add_metric((*labels, kind), count)
    return family


def _counter(name: str, text: str, cells: Mapping[Key, Cell], place: int) -> Metric:
    family = CounterMetricFamily(name, text, labels=("backend", "model"))
    for labels, cell in _sum(cells, _upstream).items():
        family.add_metric(labels, cell[place])
    return family


def _upstream(key: Key) -> tuple[str, ...] | None:
    return None if key[1] in {counted.NOBODY, counted.CACHE} else key[1:3]


def _cache(more: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(
        "headgate_cache_requests",
        "Requests by what the answer cache did: hit, miss or bypass; and how, where a hit was no plain one.",
        labels=("outcome", "note"),
    )
    for name, count in more.items():
        if name.startswith("cache:"):
            outcome, _, note = name.removeprefix("cache:").partition("/cache:")
            family.add_metric((outcome, note), count)
    return family


def worker_families(now: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
    """Give how the living workers are, added up.

    Each says `streams_open`, `traces_queued` if it sends any, `web` (false: it executes batches), and
    `backends`, each as `BackendLanes.load` has it.
    """
    streams = GaugeMetricFamily("headgate_streams_open", "Streams being sent now.")
    streams.add_metric((), sum(told.get("streams_open", 0) for told in now.values()))
    yield streams
    workers = GaugeMetricFamily("headgate_workers", "Web processes that are alive.")
    workers.add_metric((), sum(told.get("web", True) for told in now.values()))
    yield workers
    queued = GaugeMetricFamily("headgate_traces_queued", "Traces waiting to be sent to a collector.")
    queued.add_metric((), sum(told.get("traces_queued", 0) for told in now.values()))
    yield queued
    yield from _backends(
        [(state, told.get("web", True)) for told in now.values() for state in told.get("backends", ())]
    )


def _backends(states: Iterable[tuple[Mapping[str, Any], bool]]) -> Iterable[Metric]:
    lanes = GaugeMetricFamily(
        "headgate_backend_lanes",
        "Ways to a backend (one a key and web process) by the state of their circuit breakers.",
        labels=("backend", "state"),
    )
    busy = GaugeMetricFamily(
        "headgate_backend_calls_running", "Calls under way to a backend.", labels=("backend",)
    )
    queued = GaugeMetricFamily(
        "headgate_backend_calls_queued", "Calls waiting for a place at a backend.", labels=("backend",)
    )
    shut = GaugeMetricFamily(
        "headgate_backend_models_shut",
        "Models left alone on a way to a backend (one a key and web process) after failures.",
        labels=("backend",),
    )
    counts: dict[str, dict[str, int]] = {}
    calls: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for state, web in states:
        by_state = counts.setdefault(state["name"], dict.fromkeys(("closed", "half_open", "open"), 0))
        for lane in state["lanes"] if web else ():
            by_state[lane] += 1
        calls[state["name"]][0] += state["running"]
        calls[state["name"]][1] += state["waiting"]
        calls[state["name"]][2] += state["models_shut"]
    for name, by_state in counts.items():
        for kind, count in by_state.items():
            lanes.add_metric((name, kind), count)
        busy.add_metric((name,), calls[name][0])
        queued.add_metric((name,), calls[name][1])
        shut.add_metric((name,), calls[name][2])
    return (lanes, busy, queued, shut)
