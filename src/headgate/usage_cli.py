"""`headgate usage`: what was asked, by whom, of which model, and what it cost; from the store itself."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from headgate.commands import settings_or_exit
from headgate.moments import ago
from headgate.store_access import reading

if TYPE_CHECKING:
    from sqlalchemy import Connection

_DIMENSIONS = {"day": "day", "key": "tenant", "model": "model", "backend": "backend", "session": "session"}
_PLAIN = {"anyone": "(no key)"}


def usage(
    *,
    by: Annotated[
        str, typer.Option(help="Sum up by day, key, model, backend or session; several with commas.")
    ] = "model",
    since: Annotated[
        str, typer.Option(metavar="DAY", help="The first day (UTC): 2026-01-31, or 7d ago; `all`.")
    ] = "30d",
    until: Annotated[str | None, typer.Option(metavar="DAY", help="The last day.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show requests, tokens and cost, from the database: no server need run.

    Costs are the upstream's own figures, or estimates by LiteLLM's price table (`estimated` is their part);
    `unpriced` requests used tokens whose cost nobody knows. Days are UTC's. Sessions are kept apart for some
    days (HEADGATE_USAGE_SESSION_DAYS). Servers store every 2 seconds.
    """
    names = [name.strip() for name in by.split(",")]
    if not set(names) <= set(_DIMENSIONS) or len(set(names)) < len(names):
        raise typer.BadParameter(f"--by takes {', '.join(_DIMENSIONS)}, each once; not {by!r}")
    if as_csv and as_json:
        raise typer.BadParameter("--csv or --json, not both")
    first = None if since == "all" else ago(since).date().isoformat()
    last = ago(until).date().isoformat() if until is not None else None
    rows = reading(settings_or_exit(), [], _rows, names, first, last)
    if as_json:
        told = {"by": names, "since": first, "until": last, "rows": rows, "total": total_of(rows, names)}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    elif as_csv:
        _print_csv(rows, names)
    else:
        from headgate.usage_views import console, usage_table  # noqa: PLC0415 - `--help` need not load it

        console().print(usage_table(rows, names, total_of(rows, names)))
        if not rows:
            typer.echo("Nothing was used in this time.")


def _rows(
    connection: Connection, names: list[str], first: str | None, last: str | None
) -> list[dict[str, Any]]:
    """Give the sums, the dearest first; by day if days are what is asked for."""
    from coordinators import key_records, usage_records  # noqa: PLC0415 - see above

    rows = usage_records.report(connection, [_DIMENSIONS[name] for name in names], first, last)
    known = {key.id: key.name for key in key_records.read_all(connection)} if "key" in names else {}
    told = []
    for row in rows:
        if "key" in names:
            tenant = row.pop("tenant")
            row["key"] = known.get(tenant) or _PLAIN.get(tenant, tenant)
        told.append({**{name: row.pop(name) for name in names}, **row})
    told.sort(key=lambda row: (-row["cost"], -row["requests"], *(row[name] for name in names)))
    if "day" in names:
        told.sort(key=lambda row: str(row["day"]))
    return told


def total_of(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Add rows up."""
    total: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            if name not in names:
                total[name] = total.get(name, 0) + value
    return total


def _print_csv(rows: list[dict[str, Any]], names: list[str]) -> None:
    from coordinators.usage import AMOUNTS, COUNTS  # noqa: PLC0415 - see above

    writer = csv.DictWriter(sys.stdout, [*names, *COUNTS, *AMOUNTS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """Keep what clients named from being taken for a formula by a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
