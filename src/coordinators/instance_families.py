"""What an instance has once, not once a worker, as Prometheus metrics: recorder, processes, batches."""

from __future__ import annotations

import platform
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.core import Metric

    from coordinators.batch_progress import BatchProgress


def info_family(version: str, instance: str) -> Metric:
    """Say what runs here; always 1."""
    family = InfoMetricFamily("headgate", "The version, and the instance that this start is.")
    family.add_metric((), {"version": version, "instance": instance, "python": platform.python_version()})
    return family


_RECORDER = {
    "received": "Frames that the recorder took in.",
    "recorded": "Runs that Prefect has whole.",
    "sampled_out": "Runs left out by chance, because there were more than Prefect takes.",
    "dropped": "Runs that were to be kept, but found no room.",
    "crashed": "Runs whose end was never told.",
    "refused": "Runs that Prefect refused.",
    "retries": "Calls to Prefect made again.",
}


def recorder_families(stats: Mapping[str, Any] | None) -> Iterable[Metric]:
    """Give the recorder's counters (`recorder_stats`); None if it does not answer."""
    yield GaugeMetricFamily(
        "headgate_recorder_up", "Whether the recorder answers.", value=0 if stats is None else 1
    )
    if stats is None:
        return
    yield GaugeMetricFamily(
        "headgate_recorder_queued", "Runs that wait to be written to Prefect.", value=stats["waiting"]
    )
    yield GaugeMetricFamily(
        "headgate_recorder_open", "Recorded runs that have not ended.", value=stats["open"]
    )
    yield GaugeMetricFamily(
        "headgate_prefect_up", "Whether Prefect answers the recorder.", value=int(stats["prefect"] == "up")
    )
    for name, text in _RECORDER.items():
        yield CounterMetricFamily(f"headgate_recorder_{name}", text, value=stats[name])


def process_families(children: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
    """Give the state, memory, CPU time and open files of the supervisor's children, by their names."""
    up = GaugeMetricFamily("headgate_process_up", "Whether a process runs.", labels=("process",))
    restarts = CounterMetricFamily(
        "headgate_process_restarts", "How often a process was started again.", labels=("process",)
    )
    families: dict[str, Metric] = {}
    for name, child in children.items():
        up.add_metric((name,), int(child.get("state") == "running"))
        if "restarts" in child:
            restarts.add_metric((name,), child["restarts"])
        if (pid := child.get("pid")) is None:
            continue
        for family in ProcessCollector(pid=partial(str, pid), registry=None).collect():
            known = families.setdefault(family.name, family)
            if known is family:
                told, family.samples = family.samples, []
            else:
                told = family.samples
            for sample in told:
                known.add_sample(sample.name, {"process": name}, sample.value)
    yield up
    yield restarts
    yield from families.values()


def batch_families(progress: BatchProgress) -> Iterable[Metric]:
    """Give how far the open batches are."""
    batches = GaugeMetricFamily(
        "headgate_batches_open", "Batches that have not ended, by state.", labels=("state",)
    )
    requests = GaugeMetricFamily(
        "headgate_batch_requests", "Requests of the open batches, by state.", labels=("state",)
    )
    for state, count in progress.batches.items():
        batches.add_metric((state,), count)
    for state, count in progress.requests.items():
        requests.add_metric((state,), count)
    yield batches
    yield requests
    yield GaugeMetricFamily(
        "headgate_batch_oldest_age_seconds", "Age of the oldest open batch.", value=progress.oldest
    )
