"""`headgate batch plan`: what a batch would take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headgate.batch_files import looked_through
from headgate.commands import INTERRUPTED, AsJson, print_json, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headgate.batch_plan import Plan
    from headgate.settings import Settings
    from tasks.batch_input import BatchInput

_LATENCY = 5.0


def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Requests; - is standard input.")],
    *,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Put this in the place of every request's model.")
    ] = None,
    latency: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long an answer takes: an assumption.", min=0.001)
    ] = _LATENCY,
    as_json: AsJson = False,
) -> None:
    """Estimate tokens, cost and duration of a batch. Nothing is sent, and no gateway is needed.

    Tokens out are the most that the requests allow (`max_tokens`), so the cost is the most too. The pace is
    that of HEADGATE_BATCH_CONCURRENCY, HEADGATE_BATCH_RPM and HEADGATE_BATCH_TPM as they are set here.
    """
    settings = settings_or_exit()
    with looked_through(file, model, "Nothing was planned.") as given:
        try:
            made = _made(given, settings, latency)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(made.told())
        return
    _show(made, settings)


def _made(given: BatchInput, settings: Settings, latency: float) -> Plan:
    from headgate.batch_plan import Limits, make_plan  # noqa: PLC0415 - loads the token counter
    from headgate.batch_view import counting_bar  # noqa: PLC0415 - likewise late
    from headgate.shown import console  # noqa: PLC0415 - likewise

    with counting_bar(console(stderr=True)) as bar:
        task = bar.add_task("", total=given.found.requests)
        return make_plan(
            given.requests(), given.found.requests, Limits.of(settings, latency), settings.aliases,
            lambda done: bar.update(task, completed=done),
        )  # fmt: skip


def _show(made: Plan, settings: Settings) -> None:
    from headgate.batch_view import plan_table  # noqa: PLC0415 - see above
    from headgate.shown import console  # noqa: PLC0415 - see above

    out = console()
    out.print(plan_table(made))
    for line in _notes(made, settings):
        out.print(line, soft_wrap=True, markup=False)


def _notes(made: Plan, settings: Settings) -> Iterator[str]:
    from headgate.shown import span  # noqa: PLC0415 - see above

    seconds, bound = made.duration()
    yield f"Takes about {span(seconds)}, bounded by {bound}."
    yield (
        f"Assumed: an answer takes {made.limits.latency:g} s (--latency), every answer is as long as it may "
        "be, and nothing comes from a cache."
    )
    if made.counted < made.requests:
        yield f"Tokens in are estimated from {made.counted:,} of the {made.requests:,} requests."
    if not made.cost()[2]:
        yield "The cost leaves out models whose price is unknown."
    if unlimited := sum(one.unlimited for one in made.models.values()):
        yield f"{unlimited:,} requests have no max_tokens, which a Messages request needs."
    if seconds > settings.batch_hours * 3600:
        hours = f"{settings.batch_hours:g} hours"
        yield f"That is longer than the {hours} after which a batch expires (HEADGATE_BATCH_HOURS)."
    yield "Nothing was sent."
