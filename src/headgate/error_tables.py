"""How `headgate errors` draws what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from headgate.shown import console, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

__all__ = ["console", "errors_table", "occurrences_table", "registry_table", "shown", "stats_tables"]

Row = dict[str, Any]


def _table(*columns: str, numbers: Sequence[str] = (), title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        whole = name in {"hash", "request", *numbers}
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=whole, overflow="fold")
    return table


def _place(row: Row) -> Text:
    return plain(f"{row.get('file')}:{row.get('line')} {row.get('function')}")


def _time(value: Any) -> str:
    return str(value or "")[:19].replace("T", " ")


def errors_table(rows: Sequence[Row]) -> Table:
    """Draw one row for each hash."""
    table = _table("hash", "times", "last", "type", "where", "said", numbers=["times"])
    for row in rows:
        said = plain(str(row.get("message") or "")[:120])
        table.add_row(
            str(row["hash"]), str(row["count"]), _time(row["last"]), plain(row["type"]), _place(row), said
        )
    return table


def registry_table(rows: Sequence[Row]) -> Table:
    """Draw one row for each place in the source."""
    table = _table("hash", "times", "kind", "type", "where", "last", numbers=["times"])
    for row in rows:
        table.add_row(
            str(row.get("hash") or ""), str(row["count"]), row["kind"], plain(row.get("type") or ""),
            _place(row), _time(row["last"]),
        )  # fmt: skip
    return table


def occurrences_table(records: Sequence[Row]) -> Table:
    """Draw one row for each occurrence."""
    table = _table("time", "hash", "type", "request", "model", "backend", "said")
    for record in records:
        request = record.get("request") or {}
        table.add_row(
            _time(record.get("time")), str(record["hash"]), plain(record.get("type")),
            plain(request.get("id") or record.get("request_id") or ""), plain(request.get("model") or ""),
            plain(request.get("backend") or ""), plain(str(record.get("message") or "")[:120]),
        )  # fmt: skip
    return table


def shown(found: Row, around: Sequence[tuple[int, str]]) -> Iterator[RenderableType]:
    """Draw one hash: its place with the code around it, then its last occurrences with their stack."""
    head = Text.assemble((f"{found['hash']}  {found['type']}", "bold"), "  ", _place(found))
    yield head
    yield Text(
        f"seen {found['count']} times, first {_time(found['first'])}, last {_time(found['last'])} (UTC)"
    )
    yield Text("")
    for number, code in around:
        here = number == found["line"]
        yield Text(f"{'>' if here else ' '} {number:5} {code}", style="bold" if here else "")
    for record in found["occurrences"]:
        yield Text("")
        yield Group(*_occurrence(record))


def _occurrence(record: Row) -> Iterator[Text]:
    request, run = record.get("request") or {}, record.get("run") or {}
    yield plain(f"{_time(record.get('time'))}  {record.get('message') or '(its text may hold content)'}")
    told = {
        "request": request.get("id") or record.get("request_id"),
        "model": request.get("model"),
        "backend": request.get("backend"),
        "run": run.get("link") or run.get("name"),
        "server": record.get("server"),
    }
    for name, value in told.items():
        if value:
            yield plain(f"  {name:8} {value}")
    for frame in record.get("stack") or ():
        if frame["ours"]:
            yield plain(f"    {frame['file']}:{frame['line']} {frame['function']}: {frame['code']}")
    for earlier in record.get("chain") or ():
        said = f": {earlier['message']}" if earlier.get("message") else ""
        yield plain(f"  {earlier['how']:8} {earlier['type']}{said} at {earlier['file']}:{earlier['line']}")


def stats_tables(told: Row) -> Iterator[RenderableType]:
    """Draw the sums."""
    yield Text(f"{told['errors']} errors in {told['places']} places, {told['crashes']} of them crashes")
    yield errors_table(told["most"])
    for name, counts in told.items():
        if name.startswith("by_") and counts:
            table = _table(name[3:], "times", numbers=["times"])
            for value, count in counts.items():
                table.add_row(plain(value), str(count))
            yield Text("")
            yield table
