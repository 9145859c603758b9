"""What the commands that ask a running gateway share: their options, and how failures end them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from headgate.commands import refused, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headgate.gateway_client import GatewayClient

    C = TypeVar("C", bound=GatewayClient)

Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The gateway's address (from HEADGATE_HOST and HEADGATE_PORT)."),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="An admin key (the first of HEADGATE_ADMIN_KEYS). Others on this machine can read it "
        "in the list of processes: prefer the variable.",
    ),
]
ClientKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The client's key whose these are (HEADGATE_CLIENT_KEY, or the first of HEADGATE_API_KEYS). "
        "Others on this machine can read it in the list of processes: prefer the variable.",
    ),
]


@contextmanager
def asking(
    make: type[C],
    url: str | None,
    key: str | None = None,
    client_key: str | None = None,
    *,
    admin: bool = False,
) -> Iterator[C]:
    """Give a client of the gateway that the options or else the settings name.

    `admin` says that an admin's key is wanted: the settings' own goes nowhere else.
    Where it does not answer as asked, that is said and ends the command with 1.
    """
    from headgate.gateway_client import Unanswered  # noqa: PLC0415 - `--help` and `serve` do not ask

    settings = settings_or_exit()
    if admin and key is None and settings.admin_keys:
        key = settings.admin_keys[0].get_secret_value()
    try:
        with make(url or settings.local_url, key, client_key or settings.presented_key) as client:
            yield client
    except Unanswered as error:
        raise refused(str(error)) from None
