"""The figures Headgate must reach, and whether this run reached them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.cells import Results

PLAIN = "requests_per_s"
EVENTS = "events_per_s"
_ALONE = "small plain c=1"


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the goals table. `reached` is None when it was not measured."""

    what: str
    want: str
    got: float | None
    unit: str
    reached: bool | None


def ratio(results: Results, case: str, key: str, ours: str, theirs: str) -> float | None:
    mine, other = results.median(ours, case, key), results.median(theirs, case, key)
    return mine / other if mine is not None and other else None


def at_least(what: str, got: float | None, least: float, unit: str) -> Goal:
    return Goal(what, f"≥ {least:g}", got, unit, None if got is None else got >= least)


def at_most(what: str, got: float | None, most: float, unit: str) -> Goal:
    return Goal(what, f"≤ {most:g}", got, unit, None if got is None else got <= most)


_THROUGHPUT = (
    ("small plain c=16", PLAIN, "chat", (("bare", 0.40), ("litellm", 30), ("router", 4))),
    ("large plain c=16", PLAIN, "chat", (("bare", 0.25), ("litellm", 18), ("router", 25))),
    ("small stream c=16", EVENTS, "chat", (("litellm", 60), ("router", 4))),
    ("small stream c=16", EVENTS, "messages", (("bare", 0.35),)),
)


def _throughput(results: Results) -> list[Goal]:
    goals = []
    for case, key, wire, others in _THROUGHPUT:
        for other, least in others:
            got = ratio(results, case, key, f"headgate/{wire}", f"{other}/{wire}")
            said = "requests/s" if key == PLAIN else "events/s"
            goals.append(at_least(f"{case}, {wire} wire, {said}", got, least, f"x {other}"))
    return goals


def added_latency(results: Results, target: str, wire: str) -> float | None:
    """Give the milliseconds a target adds to the median answer of the upstream itself, one client."""
    mine = results.median(f"{target}/{wire}", _ALONE, "p50_ms")
    direct = results.median(f"direct/{wire}", _ALONE, "p50_ms")
    return mine - direct if mine is not None and direct is not None else None


def _latency(results: Results) -> list[Goal]:
    goals = []
    for wire in ("chat", "messages"):
        ours, bare = added_latency(results, "headgate", wire), added_latency(results, "bare", wire)
        got = ours / bare if ours is not None and bare and bare > 0 else None
        goals.append(at_most(f"added p50 latency, {_ALONE}, {wire} wire", got, 2.5, "x what bare adds"))
    return goals


def _life(facts: dict[str, Any]) -> list[Goal]:
    headgate = facts.get("headgate", {})
    idle = headgate.get("idle", {})
    goals = [at_most("web process memory after the run", headgate.get("memory", {}).get("web_mb"), 200, "MB")]
    for wire in ("chat", "messages"):
        one = idle.get(wire, {})
        whole = one.get("open") == one.get("wanted")
        each = one.get("web_kb_each") if whole else None
        goals.append(at_most(f"1,000 idle open streams, {wire} wire", each, 60, "KB each"))
    start = headgate.get("start", {}).get("message_s")
    goals.append(at_most("process start to first answered message", start, 3, "s"))
    return goals


def _express(cost: dict[str, Any] | None) -> list[Goal]:
    cost = cost or {}
    return [
        at_most("express, a flow of 8 steps", cost.get("express_us"), 60, "µs"),
        at_least("express against Prefect's own engine", cost.get("times_cheaper"), 1000, "x cheaper"),
    ]


def judge(results: Results, facts: dict[str, Any], express: dict[str, Any] | None) -> list[Goal]:
    """Hold a run against the goals."""
    return [*_throughput(results), *_latency(results), *_express(express), *_life(facts)]
