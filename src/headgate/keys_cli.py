"""`headgate keys`: make, list and revoke the keys that clients present. The store has only their digests."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headgate.commands import AsJson, print_json, settings_or_exit
from headgate.moments import ahead
from headgate.store_access import mark_keys, reading, writing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from coordinators.stored_keys import StoredKey
    from coordinators.usage import Sums, Window

keys = typer.Typer(
    help="Manage client keys, in the gateway's database (DATABASE_URL, or a file in HEADGATE_DATA_DIR). "
    "Servers that run take changes over within some seconds.\n\n"
    "Exit status: 0 done, 1 nothing found or the store failed, 2 asked wrongly.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_LONGEST_NAME = 80

Named = Annotated[str, typer.Argument(metavar="NAME|ID", help="The key's name or id.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is called in lists, messages and usage.")],
    *,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute at most.", min=1)] = None,
    tpm: Annotated[
        int | None, typer.Option(help="Tokens a minute at most, without those read from a cache.", min=1)
    ] = None,
    daily_usd: Annotated[float | None, typer.Option(help="Dollars a day (UTC) at most.", min=0)] = None,
    monthly_usd: Annotated[float | None, typer.Option(help="Dollars a month (UTC) at most.", min=0)] = None,
    models: Annotated[
        str | None, typer.Option(help="Names that may be asked for, comma-separated; * is any part of one.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it ends: 2026-12-31, or from now 30d, 12h.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it: this once, for only its digest is kept."""
    from coordinators import key_records  # noqa: PLC0415 - `--help` need not load the database's library
    from coordinators.stored_keys import StoredKey, digest_of, new_key, tenant_of  # noqa: PLC0415 - likewise

    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise typer.BadParameter(f"NAME must be 1 to {_LONGEST_NAME} printable characters")
    now = time.time()
    end = ahead(expires).timestamp() if expires is not None else None
    if end is not None and end <= now:
        raise typer.BadParameter("--expires is in the past")
    settings = settings_or_exit()
    key = new_key()
    digest = digest_of(key)
    allowed = tuple(one.strip() for one in (models or "").split(",") if one.strip())
    stored = StoredKey(
        tenant_of(digest), name, digest.hex(), now, expires_at=end, rpm=rpm, tpm=tpm, daily_usd=daily_usd,
        monthly_usd=monthly_usd, models=allowed,
    )  # fmt: skip
    try:
        writing(settings, key_records.create, stored)
    except key_records.NameTaken:
        typer.echo(f"headgate: there is a key named {name!r}; revoke it, or choose another name", err=True)
        raise typer.Exit(2) from None
    with suppress(OSError):  # the servers do it as well; the key must be shown
        mark_keys(settings)
    if as_json:
        print_json({"id": stored.id, "name": name, "key": key})
        return
    typer.echo(f"The key {name!r} (id {stored.id}). Keep it: it is shown this once.", err=True)
    typer.echo(key)


@keys.command("list")
def list_keys(
    *,
    all_keys: Annotated[bool, typer.Option("--all", help="Revoked keys too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the keys: limits, what they used today and this month (UTC), when last."""
    from coordinators.limits import Limits  # noqa: PLC0415 - see above

    *_, day, month = Limits().periods()
    found, windows = reading(settings_or_exit(), ([], {}), _known, (day, month))
    rows = [
        _told(key, windows, day, month) for key in found if all_keys or key.revoked_at is None
    ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    from headgate.usage_views import console, keys_table  # noqa: PLC0415 - see above

    console().print(keys_table(rows))
    hidden = len(found) - len(rows)
    if hidden:
        typer.echo(f"{hidden} revoked, not shown: --all")


@keys.command()
def revoke(named: Named) -> None:
    """Revoke a key: servers refuse it within some seconds. What it used stays known."""
    from coordinators import key_records  # noqa: PLC0415 - see above

    gone = writing(settings_or_exit(), key_records.revoke, named)
    if gone is None:
        typer.echo(f"headgate: there is no key {named!r} that is not revoked", err=True)
        raise typer.Exit(1)
    typer.echo(f"Revoked {gone.name!r} (id {gone.id}).")


@keys.command()
def delete(named: Named) -> None:
    """Delete revoked keys of this name or id. Without any key left, no key is asked for any more."""
    from coordinators import key_records  # noqa: PLC0415 - see above

    gone = writing(settings_or_exit(), key_records.remove, named)
    if not gone:
        typer.echo(f"headgate: there is no revoked key {named!r}; only revoked ones are deleted", err=True)
        raise typer.Exit(1)
    typer.echo(f"Deleted {gone} of that name or id.")


def _known(connection: Connection, periods: tuple[str, ...]) -> tuple[list[StoredKey], dict[Window, Sums]]:
    from coordinators import key_records, usage_records  # noqa: PLC0415 - see above

    return key_records.read_all(connection), usage_records.read_windows(connection, periods)


def _told(key: StoredKey, windows: dict[Window, Sums], day: str, month: str) -> dict[str, Any]:
    """Give what is shown of a key: all but its digest."""
    told: dict[str, Any] = {name: value for name, value in asdict(key).items() if name != "digest"}
    for name, period in (("today", day), ("month", month)):
        requests, used, cost = windows.get((period, key.id), (0, 0, 0.0))
        told[name] = {"requests": requests, "tokens": used, "cost": round(cost, 6)}
    told["state"] = (key.why_not(time.time()) or "valid").removeprefix("was ").removeprefix("has ")
    return told
