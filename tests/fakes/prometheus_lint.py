"""What a linter such as Prometheus' own would say of an exposition in its text format."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*$")
_LABEL = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*$")
_NOT_BASE = {
    "milliseconds", "ms", "microseconds", "us", "nanoseconds", "minutes", "hours", "days", "kilobytes", "kb",
    "megabytes", "mb", "gigabytes", "bits", "percent", "cents",
}  # fmt: skip
_PARTS = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum", "")}
_RESERVED = ("_total", "_bucket", "_count", "_sum", "_created")


def problems(text: str) -> list[str]:
    """List what is wrong, each as `name: what`; none if it is well."""
    found = [*_lines(text)]
    for family in text_string_to_metric_families(text):
        found += [f"{family.name}: {what}" for what in (*_naming(family), *_samples(family))]
    return found


def _lines(text: str) -> Iterator[str]:
    """Look at what the parser forgives: the order of lines, and what comes twice."""
    if not text.endswith("\n"):
        yield "exposition: no line feed at its end"
    told: dict[str, set[str]] = {"HELP": set(), "TYPE": set()}
    series: set[str] = set()
    begun: list[str] = []
    for line in text.splitlines():
        if line.startswith("# "):
            _, kind, name, *rest = line.split(" ", 3)
            if name in told[kind]:
                yield f"{name}: a second {kind}"
            told[kind].add(name)
            if not rest or not rest[0].strip():
                yield f"{name}: an empty {kind}"
            if kind == "TYPE" and rest == ["counter"] and not name.endswith("_total"):
                yield f"{name}: a counter without _total"  # the parser would add it
            if not begun or begun[-1] != name:
                begun.append(name)
            continue
        one = line.rpartition(" ")[0]
        if one in series:
            yield f"{one}: a series twice"
        series.add(one)
        name = re.split(r"[{ ]", line, maxsplit=1)[0]
        if not begun or not (name == begun[-1] or name.startswith(begun[-1] + "_")):
            yield f"{name}: a sample outside its family"
    for name in told["HELP"] ^ told["TYPE"]:
        yield f"{name}: HELP or TYPE is missing"
    if len(begun) != len(set(begun)):
        yield "exposition: a family in several pieces"


def _naming(family: Metric) -> Iterator[str]:
    if not _NAME.match(family.name):
        yield "is no snake case"
    words = family.name.split("_")
    if wrong := _NOT_BASE & set(words):
        yield f"{sorted(wrong)} is no base unit"
    if family.type in words:
        yield f"names its type, {family.type}"
    if family.type == "unknown" or not family.documentation.endswith("."):
        yield "has no type, or a help that is no sentence"
    if family.type == "gauge" and family.name.endswith(_RESERVED):
        yield "a gauge with an ending of other types"
    if "seconds" in words and words[-1] != "seconds" and family.type != "counter":
        yield "a unit that does not come last"


def _samples(family: Metric) -> Iterator[str]:
    by_labels: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    names: set[frozenset[str]] = set()
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        names.add(frozenset(labels))
        if any(not _LABEL.match(name) for name in labels):
            yield f"labels {sorted(labels)} are no snake case"
        if family.type in _PARTS and sample.name.removeprefix(family.name) not in _PARTS[family.type]:
            yield f"{sample.name} is no part of a {family.type}"
        if family.type in {"counter", "histogram"} and not sample.value >= 0:
            yield f"{sample.name} is {sample.value}"
        key = tuple(sorted(labels.items()))
        if sample.name.endswith("_bucket"):
            by_labels.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
    if len(names) > 1:
        yield f"series with different labels: {sorted(map(sorted, names))}"
    counts = {
        tuple(sorted(one.labels.items())): one.value for one in family.samples if one.name.endswith("_count")
    }
    if family.type == "histogram":
        for key, buckets in by_labels.items():
            if buckets != sorted(buckets) or [value for _, value in buckets] != sorted(v for _, v in buckets):
                yield "buckets that are not in order, or not cumulative"
            if buckets[-1][0] != float("inf") or buckets[-1][1] != counts.get(key):
                yield "a last bucket that is not +Inf, or not the count"
