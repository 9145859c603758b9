"""`headgate errors`: look up what servers wrote down of their errors, in the log folder of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headgate.commands import AsJson, print_json, settings_or_exit
from headgate.moments import ago

if TYPE_CHECKING:
    from coordinators.error_reading import ErrorReader, Wanted

errors = typer.Typer(
    help="Look errors up by their hash, in the log folder (HEADGATE_LOG_DIR), of all servers here.\n\n"
    "Times are ISO 8601 in UTC (2026-01-31T12:00), or ages: 90s, 15m, 2h, 7d. "
    "Exit status: 0 done, 1 no such error (show), 2 asked wrongly.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LogDir = Annotated[str | None, typer.Option("--log-dir", help="The log folder (HEADGATE_LOG_DIR).")]
Limit = Annotated[int, typer.Option(help="Show so many at most.", min=1)]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="From this time on.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time.")]
Part = Annotated[str | None, typer.Option(help="A part of it, upper case or lower.")]
Whole = Annotated[str | None, typer.Option(help="It, whole.")]


def _reader(given: str | None) -> ErrorReader:
    from coordinators.error_reading import ErrorReader  # noqa: PLC0415 - `--help` need not load it

    return ErrorReader(settings_or_exit(log_dir=given).log_dir.absolute())


def _moment(text: str | None) -> str | None:
    """Give the time as records write it: UTC, ISO 8601."""
    return None if text is None else ago(text).isoformat(timespec="milliseconds")


@errors.command()
def scan(*, log_dir: LogDir = None, as_json: AsJson = False) -> None:
    """List every place in the source that can raise: steps, pipelines, `raise` and `except`, with counts."""
    from coordinators.error_registry import registry  # noqa: PLC0415 - see above

    rows = registry(_reader(log_dir))
    if as_json:
        print_json(rows)
        return
    from headgate.error_tables import console, registry_table  # noqa: PLC0415 - see above

    console().print(registry_table(rows))


@errors.command("list")
def list_errors(
    *, log_dir: LogDir = None, since: Since = None, limit: Limit = 50, as_json: AsJson = False
) -> None:
    """List the errors that were seen, by hash, the last seen first."""
    from coordinators.error_reading import Wanted  # noqa: PLC0415 - see above

    seen = _reader(log_dir).tally(Wanted(since=_moment(since)))
    rows = sorted((one.summary() for one in seen.values()), key=lambda row: str(row["last"]), reverse=True)
    if as_json:
        print_json(rows[:limit])
        return
    from headgate.error_tables import console, errors_table  # noqa: PLC0415 - see above

    console().print(errors_table(rows[:limit]))
    if len(rows) > limit:
        typer.echo(f"There are {len(rows) - limit} more: --limit {len(rows)}")


@errors.command()
def show(
    error_hash: Annotated[str, typer.Argument(metavar="HASH", help="The 12 digits an error ends with.")],
    *,
    log_dir: LogDir = None,
    limit: Limit = 5,
    as_json: AsJson = False,
) -> None:
    """Show one error: the code around it, how often it was seen, and its last occurrences."""
    from coordinators.error_registry import code_around, sites_with  # noqa: PLC0415 - see above

    reader = _reader(log_dir)
    found = reader.one(error_hash, limit)
    if found is None:
        sites = sites_with(error_hash, None)
        if not sites:
            told = f"no error {error_hash} is written down in {reader.log_dir}, and no place has this hash"
            typer.echo(f"headgate: {told}", err=True)
            raise typer.Exit(1)
        found = {**sites[0].to_dict(), "count": 0, "first": None, "last": None, "occurrences": []}
    if as_json:
        print_json(found)
        return
    from headgate.error_tables import console, shown  # noqa: PLC0415 - see above

    for part in shown(found, code_around(str(found["file"]), int(found["line"]))):
        console().print(part)


@errors.command()
def search(
    *,
    log_dir: LogDir = None,
    type: Part = None,  # noqa: A002 - the option's own word
    function: Part = None,
    file: Part = None,
    text: Part = None,
    hash: Whole = None,  # noqa: A002 - likewise
    model: Whole = None,
    backend: Whole = None,
    request: Whole = None,
    server: Whole = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    offset: Annotated[int, typer.Option(help="Pass over the first so many.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """List single occurrences, the newest first. What is given must all hold."""
    wanted = _wanted(
        hash=hash, type=type, function=function, file=file, model=model, backend=backend, request=request,
        server=server, since=_moment(since), until=_moment(until), text=text,
    )  # fmt: skip
    page = _reader(log_dir).page(wanted, offset, limit)
    if as_json:
        print_json(page)
        return
    from headgate.error_tables import console, occurrences_table  # noqa: PLC0415 - see above

    console().print(occurrences_table(page["data"]))
    if page["next_offset"] is not None:
        typer.echo(f"There are more: --offset {page['next_offset']}")


@errors.command()
def stats(
    *, log_dir: LogDir = None, since: Since = None, until: Until = None, as_json: AsJson = False
) -> None:
    """Sum up: errors by place, type, model, backend, status, server and hour."""
    told = _reader(log_dir).stats(_wanted(since=_moment(since), until=_moment(until)))
    if as_json:
        print_json(told)
        return
    from headgate.error_tables import console, stats_tables  # noqa: PLC0415 - see above

    for table in stats_tables(told):
        console().print(table)


def _wanted(**given: str | None) -> Wanted:
    from coordinators.error_reading import Wanted  # noqa: PLC0415 - see above

    return Wanted(**given)
