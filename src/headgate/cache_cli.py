"""`headgate cache`: look at and manage the answer cache of the running gateway, over its endpoints."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headgate.asking import ClientKey, Key, Url, asking
from headgate.commands import INTERRUPTED, AsJson, print_json

# What asks and what draws is imported by the commands: `--help` and `serve` need neither.
if TYPE_CHECKING:
    from collections.abc import Callable

    from headgate.cache_client import CacheClient
    from headgate.cache_warming import Line, Warmed

cache = typer.Typer(
    help="Look at and manage the answer cache of the running gateway.\n\n"
    "The gateway is asked over HTTP at HEADGATE_HOST and HEADGATE_PORT, or at --url, with the first of "
    "HEADGATE_ADMIN_KEYS, or --key. Without any keys set, it manages for whoever is on its machine.\n\n"
    "Ages are seconds, or have a unit: 90, 15m, 2h, 7d. Exit status: 0 done, 1 the gateway could not or "
    "would not, 2 asked wrongly.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PAGE = 1000
_SHOWN_ERRORS = 20


def _age(text: str) -> float:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no age: give seconds, or 15m, 2h, 7d")
    return float(found[1]) * _UNITS[found[2]]


Entry = Annotated[
    str | None, typer.Option(metavar="KEY", help="The entry with this key, as `entries --json` shows it.")
]
Tag = Annotated[str | None, typer.Option(metavar="TAG", help="Entries with this tag.")]
Model = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Entries of this model, as asked for or as answered.")
]
Pattern = Annotated[
    str | None,
    typer.Option(metavar="GLOB", help="Entries with a model or tag like this: 'claude-*'. Quote it."),
]
OlderThan = Annotated[
    float | None, typer.Option(parser=_age, metavar="AGE", help="Entries stored longer ago than this.")
]
YoungerThan = Annotated[
    float | None, typer.Option(parser=_age, metavar="AGE", help="Entries stored within this time.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")]


@cache.command()
def stats(*, url: Url = None, key: Key = None, client_key: ClientKey = None, as_json: AsJson = False) -> None:
    """Hits and misses, what hits saved, what is held, and how long look-ups take.

    Counts are of all web processes since the store was made; latencies are of the process that answered.
    """
    told = _asked(lambda client: client.get("stats"), url, key, client_key)
    if as_json:
        print_json(told)
        return
    from headgate.cache_tables import stats_tables  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    for table in stats_tables(told):
        console().print(table)


@cache.command()
def entries(
    *,
    url: Url = None,
    key: Key = None,
    client_key: ClientKey = None,
    entry: Entry = None,
    tag: Tag = None,
    model: Model = None,
    pattern: Pattern = None,
    older_than: OlderThan = None,
    younger_than: YoungerThan = None,
    limit: Annotated[int, typer.Option(metavar="N", help="Show so many at most; 0 for all.", min=0)] = 50,
    offset: Annotated[int, typer.Option(metavar="N", help="Pass over the first so many.", min=0)] = 0,
    bodies: Annotated[
        bool, typer.Option("--bodies", help="With --json: the answers too, of the client whose key is sent.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what is stored, the first stored first. What is given must all hold."""
    if bodies and not as_json:
        raise typer.BadParameter("--bodies needs --json: answers have no place in a table")
    query = _given(
        key=entry, tag=tag, model=model, pattern=pattern, older_than=older_than, younger_than=younger_than,
        bodies="true" if bodies else None,
    )  # fmt: skip
    found, more = _asked(lambda client: _pages(client, query, offset, limit), url, key, client_key)
    if as_json:
        print_json({"data": found, "next_offset": more})
        return
    from headgate.cache_tables import entries_table  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    console().print(entries_table(found))
    if more is not None:
        typer.echo(f"There are more: --offset {more}, or --limit 0 for all.")


def _pages(
    client: CacheClient, query: dict[str, Any], offset: int, limit: int
) -> tuple[list[Any], int | None]:
    """Give so many entries (0: all), and where the next begin."""
    found: list[Any] = []
    next_offset: int | None = offset
    while next_offset is not None and (limit == 0 or len(found) < limit):
        wanted = _PAGE if limit == 0 else min(_PAGE, limit - len(found))
        page = client.get("entries", {**query, "offset": next_offset, "limit": wanted})
        found += page["data"]
        next_offset = page["next_offset"]
    return found, next_offset


@cache.command()
def invalidate(
    *,
    url: Url = None,
    key: Key = None,
    client_key: ClientKey = None,
    entry: Entry = None,
    tag: Tag = None,
    model: Model = None,
    pattern: Pattern = None,
    tenant: Annotated[
        str | None,
        typer.Option(metavar="TENANT", help="Entries of this client, as `entries --json` shows it."),
    ] = None,
    older_than: OlderThan = None,
    younger_than: YoungerThan = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete the entries for which all that is given holds. Counts first, and asks before it deletes.

    headgate cache invalidate --tag docs --older-than 2h
    """
    selection = _given(
        key=entry, tag=tag, model=model, pattern=pattern, tenant=tenant, older_than=older_than,
        younger_than=younger_than,
    )  # fmt: skip
    if not selection:
        raise typer.BadParameter("say which: --tag, --model, … ; `headgate cache clear` deletes all")
    _delete(selection, (url, key, client_key), dry_run=dry_run, yes=yes, as_json=as_json)


@cache.command()
def clear(
    *,
    url: Url = None,
    key: Key = None,
    client_key: ClientKey = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete every entry, of every client. Counts first, and asks before it deletes; the counts stay."""
    _delete({"all": True}, (url, key, client_key), dry_run=dry_run, yes=yes, as_json=as_json)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _delete(
    selection: dict[str, Any],
    where: tuple[str | None, str | None, str | None],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Say what would be deleted; unless that was all, ask, delete, and say what was."""
    if as_json and not (yes or dry_run):
        raise typer.BadParameter("--json needs --yes or --dry-run, as nobody can be asked")
    if dry_run or not yes:
        would = _asked(lambda client: client.post("invalidate", {**selection, "dry_run": True}), *where)
        if as_json:
            print_json(would)
            return
        typer.echo(_deleting(would, "would be deleted" if dry_run else "to delete"))
        if dry_run or not would["matched"]:
            return
        typer.confirm("Delete?", abort=True)
    done = _asked(lambda client: client.post("invalidate", selection), *where)
    if as_json:
        print_json(done)
    else:
        typer.echo(_deleting(done | {"matched": done["deleted"]}, "deleted"))


def _deleting(told: dict[str, Any], what: str) -> str:
    from headgate.shown import size  # noqa: PLC0415 - see above

    count = told["matched"]
    return f"{count:,} {'entry' if count == 1 else 'entries'} {what}, {size(told['bytes'])}"


@cache.command()
def warm(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(metavar="FILE.jsonl", help="Requests; - is standard input.")
    ],
    *,
    url: Url = None,
    key: Key = None,
    client_key: ClientKey = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Tag what is stored; may be given again.")
    ] = None,
    ttl: Annotated[
        float | None, typer.Option(parser=_age, metavar="AGE", help="How long the answers are fresh.")
    ] = None,
    at_once: Annotated[
        int, typer.Option(metavar="N", help="Requests under way at a time.", min=1, max=64)
    ] = 4,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask again for what is stored too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have the answers to a file of requests stored before anybody asks.

    Each line is one body of /v1/messages. What is stored already is not asked again, so a run that was
    interrupted or had failures may be repeated as it is. Answers are stored for the client whose key is sent.

    headgate cache warm questions.jsonl --tag faq --ttl 7d
    """
    from headgate.cache_warming import Warmed, read_lines  # noqa: PLC0415 - see above

    lines, wrong = read_lines(file)
    if wrong or not lines:
        for what in wrong[:_SHOWN_ERRORS] or ["there is no request in it"]:
            typer.echo(f"headgate: {what}", err=True)
        if len(wrong) > _SHOWN_ERRORS:
            typer.echo(f"headgate: and {len(wrong) - _SHOWN_ERRORS} lines more", err=True)
        typer.echo("Nothing was asked.", err=True)
        raise typer.Exit(2)
    how = _given(mode="refresh" if refresh else "on", single_flight=True, tags=tag or None, ttl=ttl)
    body = {"cache": how, "at_once": at_once}
    warmed = Warmed(len(lines))
    try:
        _asked(lambda client: _warm(client, lines, warmed, body), url, key, client_key)
    except KeyboardInterrupt:
        typer.echo(f"Stopped. {warmed.sentence()}. Run it again to go on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if as_json:
            print_json(asdict(warmed))
    if not as_json:
        typer.echo(f"{warmed.sentence()}.")
    if warmed.failed:
        raise typer.Exit(1)


def _warm(client: CacheClient, lines: list[Line], warmed: Warmed, body: dict[str, Any]) -> None:
    """Warm, with a bar where there is a terminal; errors are said as they come."""
    from headgate.cache_tables import warming_bar  # noqa: PLC0415 - see above
    from headgate.cache_warming import warm as warm_all  # noqa: PLC0415 - see above
    from headgate.gateway_client import Unanswered  # noqa: PLC0415 - see above
    from headgate.shown import console, plain  # noqa: PLC0415 - see above

    out = console(stderr=True)
    with warming_bar(out) as bar:
        task = bar.add_task("", total=warmed.total)

        def tell(error: dict[str, Any] | None) -> None:
            if error is not None:
                out.print(plain(f"line {error['line']}: {error['type']}: {error['message']}"), soft_wrap=True)
            said = f"{warmed.stored:,} stored, {warmed.present:,} there, {warmed.failed:,} failed"
            bar.update(task, completed=warmed.done, description=said)

        try:
            warm_all(client, lines, warmed, body, tell)
        except Unanswered as error:
            raise Unanswered(f"{error}. {warmed.sentence()}" if warmed.done else str(error)) from None


def _asked(
    ask: Callable[[CacheClient], Any], url: str | None, key: str | None, client_key: str | None
) -> Any:
    """Ask the gateway; what goes wrong is said, and ends the command."""
    from headgate.cache_client import CacheClient  # noqa: PLC0415 - see above

    with asking(CacheClient, url, key, client_key, admin=True) as client:
        return ask(client)
