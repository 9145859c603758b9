"""How `headgate usage` and `headgate keys list` draw what the store has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from headgate.shown import console, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["console", "keys_table", "usage_table"]

Row = dict[str, Any]

_ALWAYS = (
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
)
_IF_ANY = ("cached", "refused", "unpriced")
_HEADS = {
    "input_tokens": "input", "output_tokens": "output", "cache_read_tokens": "cache read",
    "cache_creation_tokens": "cache written",
}  # fmt: skip


def usage_table(rows: Sequence[Row], by: Sequence[str], total: Row) -> Table:
    """Draw the rows, and a last one with their sums. Estimated costs have a `~`."""
    columns = [*_ALWAYS, *(name for name in _IF_ANY if total.get(name))]
    table = Table(box=None, pad_edge=False, show_footer=bool(rows))
    for place, name in enumerate(by):
        table.add_column(name, "total" if place == 0 else "", overflow="fold")
    for name in columns:
        table.add_column(_HEADS.get(name, name), f"{total.get(name, 0):,}", justify="right", no_wrap=True)
    table.add_column("cost", _cost(total) if rows else "", justify="right", no_wrap=True)
    for row in rows:
        names = (plain(row[name] or "-") for name in by)
        table.add_row(*names, *(f"{row[name]:,}" for name in columns), _cost(row))
    return table


def _cost(row: Row) -> str:
    cost, estimated = row.get("cost", 0.0), row.get("estimated", 0.0)
    return f"{'~' if estimated else ''}{dollars(cost)}"


def dollars(amount: float) -> str:
    """Give an amount as people read it, with the cents' parts of small ones."""
    return f"${amount:,.2f}" if amount >= 10 or not amount else f"${amount:,.4f}"


def keys_table(rows: Sequence[Row]) -> Table:
    """Draw one row for each key."""
    table = Table(box=None, pad_edge=False)
    for name in ("name", "id", "state", "limits"):
        table.add_column(name, overflow="fold")
    for name in ("today", "month"):
        table.add_column(name, justify="right")
    for name in ("last used", "expires"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(
            plain(row["name"]), row["id"], row["state"], plain(_limits(row)), _used(row["today"]),
            _used(row["month"]), _time(row["last_used_at"]), _time(row["expires_at"]),
        )  # fmt: skip
    return table


def _limits(row: Row) -> str:
    told = [
        f"{row[name]:,} {unit}"
        for name, unit in (("rpm", "requests/min"), ("tpm", "tokens/min"))
        if row[name]
    ]
    for name, period in (("daily_usd", "day"), ("monthly_usd", "month")):
        if row[name] is not None:
            told.append(f"${row[name]:,.2f}/{period}")
    if row["models"]:
        told.append(", ".join(row["models"]))
    return "; ".join(told) or "-"


def _used(window: Row) -> str:
    return f"{window['requests']:,} req, {dollars(window['cost'])}" if window["requests"] else "-"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
