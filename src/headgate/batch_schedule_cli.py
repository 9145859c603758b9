"""`headgate batch schedule|schedules|unschedule`: batches by the clock, kept on the Prefect server."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

from headgate.asking import ClientKey, Url, asking
from headgate.batch_files import looked_through
from headgate.commands import AsJson, print_json, refused, settings_or_exit
from headgate.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prefect.client.orchestration import PrefectClient

    from headgate.settings import Settings

T = TypeVar("T")

_SECONDS = 120.0
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")


def schedule(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Requests; read anew by every run.")],
    *,
    cron: Annotated[
        str, typer.Option(metavar="CRON", help='Minute, hour, day, month, weekday: "0 2 * * *". Quote it.')
    ],
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Whose time that is: Europe/Berlin.")] = "UTC",
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Where the runs write (FILE-results beside the file)."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Put this in the place of every request's model.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The schedule's name (the file's).")
    ] = None,
    unread: Annotated[
        bool, typer.Option("--unread", help="Do not look the file through now: it may come later.")
    ] = False,
    url: Url = None,
    client_key: ClientKey = None,
    as_json: AsJson = False,
) -> None:
    """Make a batch of a file again and again. The schedule is a deployment on the Prefect server.

    Every run makes a batch, waits for it, and writes results.jsonl, summary.md, summary.csv and
    failures.jsonl into a folder of its own. The same file and name again changes the schedule. In the Prefect
    UI it can be paused, run at once, and given other times and parameters.

    headgate batch schedule nightly.jsonl --cron "0 2 * * *" --timezone Europe/Berlin
    """
    if file == "-":
        raise refused("every run reads the file anew, so it cannot be standard input: name a file", 2)
    path = Path(file).absolute()
    if not unread:
        with looked_through(file, model, "Nothing was scheduled."):
            pass
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    folder = Path(output).absolute() if output else path.with_name(f"{stem}-results")
    called = _ODD.sub("-", name or stem)
    shared, api = _prefect(url, client_key)
    from coordinators.batch_schedules import Wanted, create  # noqa: PLC0415 - loads Prefect: seconds

    wanted = Wanted(called, str(path), str(folder), model, cron, timezone)
    new = _at_prefect(api, lambda client: create(client, wanted, shared=shared))
    if as_json:
        print_json({**asdict(wanted), "new": new})
        return
    typer.echo(f"{'Scheduled' if new else 'Changed'} {called}: {cron} in the time of {timezone}.")
    typer.echo(f"Results go to {folder}. In the Prefect UI: {_ui(api)}/deployments")


def schedules(*, url: Url = None, client_key: ClientKey = None, as_json: AsJson = False) -> None:
    """List the schedules of batches."""
    _, api = _prefect(url, client_key)
    from coordinators.batch_schedules import schedules as all_schedules  # noqa: PLC0415 - see above

    found = _at_prefect(api, all_schedules)
    if as_json:
        print_json({"data": [asdict(one) for one in found]})
        return
    from headgate.batch_view import schedules_table  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    console().print(schedules_table(found))


def unschedule(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The schedule, as `schedules` shows it.")],
    *,
    url: Url = None,
    client_key: ClientKey = None,
) -> None:
    """Delete a schedule. What it has written stays, and a batch that is under way goes on."""
    _, api = _prefect(url, client_key)
    from coordinators.batch_schedules import remove  # noqa: PLC0415 - see above

    _at_prefect(api, lambda client: remove(client, name))
    typer.echo(f"{name} is scheduled no more.")


def _prefect(url: str | None, client_key: str | None) -> tuple[bool, str]:
    """Give whether other machines may share the Prefect server, as its address says, and that address.

    It is PREFECT_API_URL, or the running gateway's own. Prefect, which is to be loaded after this, is told.
    """
    settings = settings_or_exit()
    named = settings.prefect_api_url if url is None else None
    api = named or _gateways(url, client_key)
    if named is None and is_loopback(_host(api)) and url is not None and _is_elsewhere(url, settings):
        raise refused(
            "that gateway's Prefect server is for its own machine: run this there, or set PREFECT_API_URL "
            "in place of --url"
        )
    home = Path(os.environ.setdefault("PREFECT_HOME", str(settings.data_dir / "prefect")))
    with suppress(OSError):  # Prefect makes no parents, and warns
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ["PREFECT_API_URL"] = api
    return not is_loopback(_host(api)), api


def _is_elsewhere(url: str, settings: Settings) -> bool:
    """Say whether an address is none of this machine, as far as its name says."""
    host = _host(url)
    return not is_loopback(host) and host not in {settings.host, socket.gethostname()}


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _gateways(url: str | None, client_key: str | None) -> str:
    from headgate.gateway_client import GatewayClient  # noqa: PLC0415 - see above

    with asking(GatewayClient, url, None, client_key) as client:
        told: Any = client.get("/health/detailed")
    if told["runs"] == "off" or not told["prefect"]["api_url"]:
        raise refused("the gateway runs without a Prefect server, which schedules need")
    return str(told["prefect"]["api_url"])


def _at_prefect(api: str, ask: Callable[[PrefectClient], Awaitable[T]]) -> T:
    """Ask the Prefect server; what goes wrong is said, and ends the command."""
    import httpx  # noqa: PLC0415 - see above
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - see above
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - see above

    from coordinators.batch_schedules import ScheduleRefused  # noqa: PLC0415 - see above

    async def asked() -> T:
        async with get_client() as client, asyncio.timeout(_SECONDS):
            return await ask(client)

    try:
        with temporary_settings({PREFECT_API_URL: api}):
            return asyncio.run(asked())
    except ScheduleRefused as error:
        raise refused(str(error), 2) from None
    except (httpx.HTTPError, RuntimeError, OSError, TimeoutError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refused(f"the Prefect server at {api} does not do it: {said}") from None


def _ui(api: str) -> str:
    return api.removesuffix("/").removesuffix("/api")
