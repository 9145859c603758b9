"""What `headgate cache` shows: tables, and a bar of progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import Progress
from rich.table import Table

from headgate.shown import facts, pace, plain, size, span

if TYPE_CHECKING:
    from rich.console import Console


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def stats_tables(told: Any) -> list[Table]:
    """Show the answer of `/v1/cache/stats`."""
    counts = (
        "misses",
        "bypasses",
        "shared_flights",
        "stored",
        "not_stored",
        "evicted",
        "refused",
        "failures",
    )
    rows = [("hit rate", _share(told["hit_rate"])), ("hits", f"{told['hits']:,}")]
    rows += [(name.replace("_", " "), f"{told[name]:,}") for name in counts]
    if (held := told["held"]) is not None:
        rows.append(("entries held", f"{held['entries']:,}"))
        rows.append(("bytes held", f"{size(held['bytes'])} of {size(held['limit'])}"))
    saved, prompts = told["saved"], told["upstream_prompt_cache"]
    saving = [
        ("input tokens", f"{saved['input_tokens']:,}"),
        ("output tokens", f"{saved['output_tokens']:,}"),
    ]
    saving.append(("cost", f"${saved['cost_usd']:,.4f}"))
    upstream = [("hit rate", _share(prompts["hit_rate"]))]
    names = ("answers", "input_tokens", "read_tokens", "written_tokens")
    upstream += [(name.replace("_", " "), f"{prompts[name]:,}") for name in names]
    return [
        facts("Answer cache", rows),
        facts("Saved by hits", saving),
        facts("The upstream's own prompt cache", upstream),
        _latencies(told["latency"]),
    ]


def _latencies(told: Any) -> Table:
    table = Table(title=f"Look-ups and writes of process {told['process']}, ms", title_justify="left")
    table.add_column("", min_width=8)
    for heading in ("count", "p50", "p90", "p99", "max"):
        table.add_column(heading, justify="right")
    for name in ("hit", "miss", "write"):
        times = told[name]
        shown = [
            f"{times[key]:.3f}" if key in times else "-" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms")
        ]
        table.add_row(name, f"{times['count']:,}", *shown)
    return table


def entries_table(entries: list[Any]) -> Table:
    """Show entries, one a row."""
    table = Table(title=f"{len(entries):,} entries", title_justify="left")
    for heading in ("key", "model", "tags"):
        table.add_column(heading, overflow="fold")
    for heading in ("age", "left", "stored", "tokens out", "stop"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        left = entry["ttl"] - entry["age"]
        tokens, stop = entry["output_tokens"], entry["stop_reason"]
        table.add_row(
            entry["key"][:16],
            plain(entry["model"]),
            plain(", ".join(map(str, entry["tags"] or ()))),
            span(entry["age"]),
            span(left) if left > 0 else "stale",
            size(entry["bytes_stored"]),
            "-" if tokens is None else f"{tokens:,}",
            plain(stop or "-"),
        )
    return table


def warming_bar(out: Console) -> Progress:
    """Give the bar of `warm`: done, rate, remaining time, outcomes."""
    return Progress(*pace(), console=out, disable=not out.is_terminal)
