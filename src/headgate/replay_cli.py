"""`headgate captures` and `headgate replay`: look at requests that were kept, and run them again."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from headgate.commands import AsJson, print_json, refused, settings_or_exit

if TYPE_CHECKING:
    from coordinators.captures import Captured, Content
    from headgate.settings import Settings

REDACTED = (
    "It is redacted (no HEADGATE_CAPTURE_KEY was set): texts are shown as their length{}. The answers differ "
    "for that reason already."
)


def captures(
    request_id: Annotated[
        str | None, typer.Argument(metavar="[REQUEST_ID]", help="Show this one: what was sent and answered.")
    ] = None,
    *,
    limit: Annotated[int, typer.Option(help="List so many at most.", min=1)] = 50,
    as_json: AsJson = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Print a new key for HEADGATE_CAPTURE_KEY, and do nothing else.")
    ] = False,
) -> None:
    """List the requests that were kept (HEADGATE_CAPTURE), the newest first, or show one."""
    if new_key:
        from headgate.replaying import new_key as made  # noqa: PLC0415 - `--help` need not load it

        typer.echo(made())
        return
    settings = settings_or_exit()
    if request_id is not None:
        _show(*_opened(settings, request_id), as_json=as_json)
        return
    from headgate.capture_parts import folder_of  # noqa: PLC0415 - see above

    folder = folder_of(settings)
    found = list(islice(folder.newest(), limit))
    if as_json:
        print_json([{**one.facts, "bytes": one.size} for one in found])
        return
    if not found:
        off = " Set HEADGATE_CAPTURE=errors to keep failing requests." if settings.capture == "off" else ""
        typer.echo(f"No request is kept in {folder.path}.{off}")
        return
    from headgate.replay_tables import captures_table  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    console().print(captures_table(found))
    if (more := folder.left() - len(found)) > 0:
        typer.echo(f"There are {more} more: --limit {len(found) + more}")


def replay(
    request_id: Annotated[
        str,
        typer.Argument(metavar="REQUEST_ID", help="As answers' `request-id` and `headgate captures` say."),
    ],
    *,
    backend: Annotated[
        str | None, typer.Option(help="Another backend (of the universal stream: provider), by its name.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Another model, named as clients name it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a kept request again under Prefect's engine, and show both answers and timings side by side.

    It is really sent, and costs what a request costs. Exit status: 0 it was run, whatever was answered; 1 it
    is not kept, or cannot be run; 2 a setting is wrong.
    """
    settings = settings_or_exit()
    captured, content = _opened(settings, request_id)
    if not captured.encrypted:
        typer.echo(REDACTED.format(", and filler text is sent in their place"), err=True)
    again = _run(settings, captured, content, backend, model)
    first = _first(captured, content)
    if as_json:
        told = {"request": captured.facts, "redacted": not captured.encrypted, "first": first, "again": again}
        print_json(told)
        return
    from headgate.replay_tables import comparison  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    out = console()
    for part in comparison(first, again, out.width):
        out.print(part)
    typer.echo(f"Flow run {again['run']} (request {again['id']})" + _link(again))


def _link(again: dict[str, Any]) -> str:
    return f": {again['link']}" if again["link"] else f", in {again['prefect']}"


def _opened(settings: Settings, request_id: str) -> tuple[Captured, Content]:
    """Find and open it; where that fails it is said, and ends the command."""
    from coordinators.captures import CaptureUnreadable  # noqa: PLC0415 - see above
    from headgate.capture_parts import folder_of, seal_of  # noqa: PLC0415 - see above

    folder = folder_of(settings)
    try:
        captured = folder.find(request_id)
        return captured, folder.open(captured, seal_of(settings))
    except CaptureUnreadable as error:
        raise refused(str(error)) from None


def _run(
    settings: Settings, captured: Captured, content: Content, backend: str | None, model: str | None
) -> dict[str, Any]:
    from coordinators.captures import NotReplayable  # noqa: PLC0415 - see above
    from headgate.logs import configure_logs  # noqa: PLC0415 - see above
    from headgate.recording import scrubber_of  # noqa: PLC0415 - see above
    from headgate.replay_tables import answer_text  # noqa: PLC0415 - see above
    from headgate.replaying import Wanted, replay  # noqa: PLC0415 - see above
    from headgate.settings import SettingsError  # noqa: PLC0415 - see above

    configure_logs("error", scrubber_of(settings))
    wanted = Wanted(captured, content, backend, model)

    def tell(text: str) -> None:
        typer.echo(text, err=True)

    try:
        again = asyncio.run(replay(settings, wanted, tell))
    except SettingsError as error:
        raise refused(str(error), 2) from None
    except NotReplayable as error:
        raise refused(str(error)) from None
    return again | {"answer": answer_text(again["answer"])}


def _first(captured: Captured, content: Content) -> dict[str, Any]:
    """Give how the request went when it was kept."""
    from headgate.replay_tables import answer_text  # noqa: PLC0415 - see above

    facts = captured.facts
    error = content.error or (f"{facts['error']} (its text is not kept)" if facts.get("error") else None)
    return {
        "status": facts.get("status"),
        "backend": facts.get("backend"),
        "model": facts.get("model"),
        "ms": facts.get("ms"),
        "ttft_ms": content.summary.get("ttft_ms"),
        "summary": content.summary,
        "steps": content.steps,
        "error": error,
        "answer": answer_text(content.answer),
    }


def _show(captured: Captured, content: Content, *, as_json: bool) -> None:
    try:
        body = orjson.loads(content.body) if content.body is not None else "(the body is not kept)"
    except orjson.JSONDecodeError:
        body = (content.body or b"").decode("utf-8", "replace")
    first = _first(captured, content)
    if as_json:
        print_json({**captured.facts, "headers": content.headers, "body": body, "first": first})
        return
    from headgate.replay_tables import kept  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    if not captured.encrypted:
        typer.echo(REDACTED.format("").partition(". ")[0] + ".", err=True)
    for part in kept(captured.facts, content.headers, body, first):
        console().print(part)
