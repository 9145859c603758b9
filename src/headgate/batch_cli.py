"""`headgate batch`: make batches of files, wait for them, fetch what became of them."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headgate.asking import ClientKey, Url, asking
from headgate.batch_files import looked_through
from headgate.batch_plan_cli import plan
from headgate.batch_schedule_cli import schedule, schedules, unschedule
from headgate.commands import INTERRUPTED, AsJson, print_json, refused

# What asks and what draws is imported by the commands: `--help` and `serve` need neither.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from headgate.batch_client import BatchClient
    from headgate.batch_view import Stand
    from tasks.batch_input import BatchInput

batch = typer.Typer(
    help="Make batches of files of requests, wait for them, and fetch the results.\n\n"
    "The gateway is asked over HTTP at HEADGATE_HOST and HEADGATE_PORT, or at --url, with --client-key, "
    "HEADGATE_CLIENT_KEY or the first of HEADGATE_API_KEYS: a batch is seen by the client who made it.\n\n"
    'A file has Anthropic\'s lines, {"custom_id", "params"}, or OpenAI\'s, or is one JSON object with '
    "`requests`; it may be gzipped, and - is standard input.\n\n"
    "Exit status: 0 done (submit --wait and watch: all requests succeeded), 1 some did not, or the gateway "
    "could not or would not, 2 asked wrongly, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The batch, as `submit` and `list` show it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Form = Annotated[
    Literal["anthropic", "openai"],
    typer.Option("--format", help="The form of the results' lines.", case_sensitive=False),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the results here; - is standard output."),
]


@batch.command()
def submit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Requests; - is standard input.")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the batch has ended.")] = False,
    output: Output = None,
    form: Form = "anthropic",
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Put this in the place of every request's model.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What people call the batch (the file's name).")
    ] = None,
    url: Url = None,
    client_key: ClientKey = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a batch of a file. --output waits for it, and writes the results.

    The whole file is looked through first: if anything is wrong with it, every fault is named and nothing is
    sent. Ctrl-C while it waits leaves the batch to go on; Ctrl-C while it sends leaves nothing behind.

    headgate batch submit questions.jsonl --output answers.jsonl
    """
    _check_output(output)
    with looked_through(file, model, "Nothing was sent.") as given, _asking(url, client_key) as client:
        made = _create(client, given, name or given.name, quiet=quiet)
        if not (wait or output):
            _say_made(made, given, url, quiet=quiet, as_json=as_json)
            return
    from headgate.batch_view import uploaded  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    if not quiet:
        said = uploaded(given.found.requests, given.found.bytes)
        console(stderr=True).print(f"Made {made['id']} of {said}.", soft_wrap=True)
    stand = _waited(made["id"], url, client_key, quiet=quiet)
    _finish(stand, output, form, url, client_key, quiet=quiet, as_json=as_json)


@batch.command()
def status(batch_id: Id, *, url: Url = None, client_key: ClientKey = None, as_json: AsJson = False) -> None:
    """Say how far a batch is: counts of now, tokens, cost, and what failed."""
    with _asking(url, client_key) as client:
        told = client.progress(batch_id)
    if as_json:
        print_json(told)
        return
    from headgate.batch_view import show_status  # noqa: PLC0415 - see above

    show_status(told)


@batch.command()
def watch(
    batch_id: Id,
    *,
    output: Output = None,
    form: Form = "anthropic",
    url: Url = None,
    client_key: ClientKey = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Wait until a batch has ended, and show how it goes on. Ctrl-C leaves it to go on."""
    _check_output(output)
    stand = _waited(batch_id, url, client_key, quiet=quiet)
    _finish(stand, output, form, url, client_key, quiet=quiet, as_json=as_json)


@batch.command()
def results(
    batch_id: Id,
    *,
    output: Output = "-",
    form: Form = "anthropic",
    url: Url = None,
    client_key: ClientKey = None,
    quiet: Quiet = False,
) -> None:
    """Fetch the results of a batch that has ended, one JSON line for each request.

    A file appears when it is whole, never in part.
    """
    _check_output(output)
    with _asking(url, client_key) as client:
        from headgate.batch_view import Stand  # noqa: PLC0415 - see above

        stand = Stand(client.progress(batch_id))
        if not stand.ended:
            raise refused(f"{stand.sentence()}. Wait for it with {_back(batch_id, url)}")
    _fetch(stand, output or "-", form, url, client_key, quiet=quiet)


@batch.command()
def cancel(batch_id: Id, *, url: Url = None, client_key: ClientKey = None, as_json: AsJson = False) -> None:
    """End a batch early: what is not under way yet is canceled, what is done stays."""
    _act(batch_id, "cancel", url, client_key, as_json=as_json)


@batch.command()
def pause(batch_id: Id, *, url: Url = None, client_key: ClientKey = None, as_json: AsJson = False) -> None:
    """Hold a batch back: what is under way is finished, nothing more is begun."""
    _act(batch_id, "pause", url, client_key, as_json=as_json)


@batch.command()
def resume(batch_id: Id, *, url: Url = None, client_key: ClientKey = None, as_json: AsJson = False) -> None:
    """Let a paused batch go on."""
    _act(batch_id, "resume", url, client_key, as_json=as_json)


@batch.command()
def delete(
    batch_id: Id,
    *,
    url: Url = None,
    client_key: ClientKey = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a batch that has ended, with its requests and results."""
    if as_json and not yes:
        raise typer.BadParameter("--json needs --yes, as nobody can be asked")
    if not yes:
        typer.confirm(f"Delete {batch_id} and its results?", abort=True)
    with _asking(url, client_key) as client:
        told = client.remove(batch_id)
    if as_json:
        print_json(told)
    else:
        typer.echo(f"{batch_id} is deleted.")


@batch.command("list")
def list_batches(
    *,
    limit: Annotated[int, typer.Option(metavar="N", help="Show so many at most; 0 for all.", min=0)] = 20,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Begin behind this one.")] = None,
    url: Url = None,
    client_key: ClientKey = None,
    as_json: AsJson = False,
) -> None:
    """List batches, the newest first."""
    with _asking(url, client_key) as client:
        found, more = client.batches(limit, after)
    if as_json:
        print_json({"data": found, "has_more": more})
        return
    from headgate.batch_view import show_batches  # noqa: PLC0415 - see above

    show_batches(found)
    if more:
        typer.echo(f"There are more: --after {found[-1]['id']}, or --limit 0 for all.")


batch.command()(plan)
batch.command()(schedule)
batch.command()(schedules)
batch.command()(unschedule)


# What the commands share


@contextmanager
def _asking(url: str | None, client_key: str | None) -> Iterator[BatchClient]:
    from headgate.batch_client import BatchClient  # noqa: PLC0415 - see above

    with asking(BatchClient, url, None, client_key) as client:
        yield client


def _create(client: BatchClient, given: BatchInput, name: str, *, quiet: bool) -> Any:
    """Send the file; Ctrl-C is said, and ends the command with 130."""
    from headgate.batch_sending import Sending  # noqa: PLC0415 - see above

    sending = Sending(client, given, name)
    try:
        return sending.send(quiet=quiet)
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. {sending.fate()}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _say_made(made: Any, given: BatchInput, url: str | None, *, quiet: bool, as_json: bool) -> None:
    from headgate.batch_view import uploaded  # noqa: PLC0415 - see above

    if as_json:
        print_json(made)
    elif quiet:
        typer.echo(made["id"])
    else:
        typer.echo(f"Made {made['id']} of {uploaded(given.found.requests, given.found.bytes)}.")
        typer.echo(f"Watch it with:  {_back(made['id'], url)}")


def _waited(batch_id: str, url: str | None, client_key: str | None, *, quiet: bool) -> Stand:
    """Wait for a batch; Ctrl-C says how to come back, and ends the command with 130."""
    from headgate.batch_waiting import wait_for  # noqa: PLC0415 - see above

    try:
        with _asking(url, client_key) as client:
            return wait_for(client, batch_id, quiet=quiet)
    except KeyboardInterrupt:
        typer.echo(f"\nDetached: {batch_id} goes on. Come back with:  {_back(batch_id, url)}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _finish(
    stand: Stand,
    output: str | None,
    form: Literal["anthropic", "openai"],
    url: str | None,
    client_key: str | None,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Say how a batch ended, write its results if that was asked for, and end with 1 if any failed."""
    if as_json and output != "-":
        print_json(stand.told)
    elif not quiet:
        typer.echo(f"{stand.sentence()}.", err=output == "-")
    if output:
        _fetch(stand, output, form, url, client_key, quiet=quiet)
    elif not (quiet or as_json):
        typer.echo(f"Fetch the results with:  headgate batch results {stand.id} --output FILE{_address(url)}")
    if stand.failed:
        raise typer.Exit(1)


def _fetch(
    stand: Stand,
    output: str,
    form: Literal["anthropic", "openai"],
    url: str | None,
    client_key: str | None,
    *,
    quiet: bool,
) -> None:
    from headgate.batch_fetching import fetch  # noqa: PLC0415 - see above

    try:
        with _asking(url, client_key) as client:
            fetch(client, stand, output, form, quiet=quiet)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise refused(f"{output}: {error.strerror or error}. No results were written") from None
    except KeyboardInterrupt:
        said = "" if output == "-" else f" {output} was not written."
        typer.echo(
            f"\nStopped.{said} The results are still there: headgate batch results {stand.id}", err=True
        )
        raise typer.Exit(INTERRUPTED) from None


def _act(batch_id: str, what: str, url: str | None, client_key: str | None, *, as_json: bool) -> None:
    with _asking(url, client_key) as client:
        client.act(batch_id, what)
        told = client.progress(batch_id)
    if as_json:
        print_json(told)
        return
    from headgate.batch_view import Stand  # noqa: PLC0415 - see above

    typer.echo(f"{Stand(told).sentence()}.")


def _check_output(output: str | None) -> None:
    """See before anything is asked whether there is a place for the results."""
    if output in {None, "-"}:
        return
    path = Path(str(output))
    if path.is_dir():
        raise typer.BadParameter(f"{output} is a folder: give a file's name", param_hint="--output")
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent}", param_hint="--output")


def _back(batch_id: str, url: str | None) -> str:
    return f"headgate batch watch {batch_id}{_address(url)}"


def _address(url: str | None) -> str:
    return f" --url {url}" if url else ""
