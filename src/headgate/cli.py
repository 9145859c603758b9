"""The command line: `headgate serve|claude|env|doctor|batch|cache|errors|replay|keys|usage|worker|…`."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headgate import __version__
from headgate.batch_cli import batch
from headgate.cache_cli import cache
from headgate.errors_cli import errors
from headgate.keys_cli import keys
from headgate.replay_cli import captures, replay
from headgate.settings import Settings, SettingsError, load_settings
from headgate.usage_cli import usage

if TYPE_CHECKING:
    from collections.abc import Coroutine

app = typer.Typer(
    help="An Anthropic Messages API gateway whose every request is a Prefect flow run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(batch, name="batch")
app.add_typer(cache, name="cache")
app.add_typer(errors, name="errors")
app.add_typer(keys, name="keys")
app.command()(usage)
app.command()(captures)
app.command()(replay)

Host = Annotated[
    str | None, typer.Option(help="Address to listen on or to reach (HEADGATE_HOST, 127.0.0.1).")
]
Port = Annotated[int | None, typer.Option(help="Port (HEADGATE_PORT, 8082).", min=0, max=65535)]


def _settings(host: str | None, port: int | None, workers: int | None = None) -> Settings:
    try:
        return load_settings(host=host, port=port, workers=workers)
    except SettingsError as error:
        raise _refused(error) from None


def _refused(error: SettingsError) -> typer.Exit:
    typer.echo(f"headgate: {error}", err=True)
    return typer.Exit(2)


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[
        int | None, typer.Option(help="Web processes (HEADGATE_WORKERS, 1).", min=1, max=64)
    ] = None,
    *,
    no_prefect: Annotated[bool, typer.Option("--no-prefect", help="Serve without recording runs.")] = False,
) -> None:
    """Start the gateway, its Prefect server and its recorder; Ctrl-C stops them."""
    from headgate.logs import configure_logs  # noqa: PLC0415 - `--help` need not load the server
    from headgate.parameters import load_presets  # noqa: PLC0415 - likewise
    from headgate.recording import scrubber_of  # noqa: PLC0415 - likewise
    from headgate.supervisor import Supervisor  # noqa: PLC0415 - likewise

    settings = _settings(host, port, workers)
    configure_logs(settings.log_level, scrubber_of(settings))

    def announce(text: str) -> None:
        typer.echo(text)
        sys.stdout.flush()

    supervisor = Supervisor(settings, with_prefect=not no_prefect, announce=announce)
    try:
        load_presets()  # the web processes read them; what is wrong with them is said here
        asyncio.run(supervisor.run())
    except SettingsError as error:
        raise _refused(error) from None


def client_environment(settings: Settings) -> dict[str, str]:
    """Give the variables that point Claude Code and the Anthropic SDK at this gateway."""
    token = settings.presented_key or "headgate"
    return {
        "ANTHROPIC_BASE_URL": settings.local_url,
        "ANTHROPIC_AUTH_TOKEN": token,
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
    }


@app.command()
def env(host: Host = None, port: Port = None) -> None:
    """Print the variables for Claude Code, for `eval "$(headgate env)"`."""
    for name, value in client_environment(_settings(host, port)).items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo("unset ANTHROPIC_API_KEY")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def claude(context: typer.Context, host: Host = None, port: Port = None) -> None:
    """Start Claude Code against this gateway: `headgate claude -- ARGS`."""
    settings = _settings(host, port)
    program = shutil.which("claude")
    if program is None:
        typer.echo(
            "headgate: Claude Code is not installed; `npm install -g @anthropic-ai/claude-code@latest`",
            err=True,
        )
        raise typer.Exit(127)
    given = client_environment(settings)
    if not _wait(_answers(given["ANTHROPIC_BASE_URL"])):
        typer.echo(
            f"headgate: nothing answers at {given['ANTHROPIC_BASE_URL']}; start it with `headgate serve`",
            err=True,
        )
        raise typer.Exit(1)
    environment = {name: value for name, value in os.environ.items() if name != "ANTHROPIC_API_KEY"} | given
    os.execve(program, [program, *context.args], environment)  # noqa: S606 - this is what was asked for


async def _answers(url: str) -> bool:
    from headgate.doctor import fetch  # noqa: PLC0415 - only this command asks

    return (await fetch(f"{url}/health", seconds=3)).status == 200


def _wait(coroutine: Coroutine[None, None, bool]) -> bool:
    return asyncio.run(coroutine)


@app.command()
def doctor(host: Host = None, port: Port = None) -> None:
    """Check keys, port, folders, Prefect and the upstream, and say what to do."""
    from headgate.doctor import examine  # noqa: PLC0415 - only this command asks

    findings = asyncio.run(examine(_settings(host, port)))
    for finding in findings:
        typer.echo(f"{finding.mark}  {finding.subject:<12} {finding.text}")
    if any(finding.bad for finding in findings):
        raise typer.Exit(1)


@app.command()
def worker(
    pool: Annotated[str | None, typer.Option(help="Prefect work pool (HEADGATE_WORK_POOL).")] = None,
    limit: Annotated[int, typer.Option(help="Chunks at a time.", min=1, max=64)] = 2,
) -> None:
    """Execute parts of batches from a Prefect work pool; Ctrl-C lets go of them."""
    from headgate.logs import configure_logs  # noqa: PLC0415 - `--help` need not load it
    from headgate.recording import scrubber_of  # noqa: PLC0415 - likewise
    from headgate.worker import work  # noqa: PLC0415 - likewise

    settings = _settings(None, None)
    configure_logs(settings.log_level, scrubber_of(settings))
    try:
        asyncio.run(work(settings, pool or settings.work_pool, limit))
    except SettingsError as error:
        raise _refused(error) from None


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"headgate {__version__}")


def main() -> None:
    """Run the command line."""
    app()
