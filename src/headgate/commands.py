"""What the commands share: how settings are read, how they refuse, and JSON for scripts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from headgate.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from headgate.settings import Settings

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def settings_or_exit(**given: Any) -> Settings:
    """Read the settings, `given` before others; what is wrong is said, and ends the command with 2."""
    try:
        return load_settings(**given)
    except SettingsError as error:
        raise refused(str(error), 2) from None


def refused(why: str, status: int = 1) -> typer.Exit:
    """Say why not, and give what ends the command."""
    typer.echo(f"headgate: {why}", err=True)
    return typer.Exit(status)


def print_json(value: Any) -> None:
    """Print for scripts."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str) + b"\n")
    sys.stdout.flush()
