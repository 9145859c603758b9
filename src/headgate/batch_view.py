"""What `headgate batch` shows: how far a batch is, in a bar, a line or a table."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from headgate.shown import Rate, console, facts, pace, plain, size, span

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from coordinators.batch_schedules import Scheduled
    from headgate.batch_plan import Plan

OUTCOMES = ("succeeded", "errored", "canceled", "expired")
_LINE_SECONDS = 30.0
_SHOWN_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Stand:
    """How far a batch is, as the gateway tells it now."""

    told: Any

    @property
    def id(self) -> str:
        return str(self.told["id"])

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.told["request_counts"])

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return self.total - self.counts["processing"]

    @property
    def failed(self) -> int:
        return self.done - self.counts["succeeded"]

    @property
    def ended(self) -> bool:
        return bool(self.told["processing_status"] == "ended")

    @property
    def state(self) -> str:
        """Say what it does now."""
        status = str(self.told["processing_status"])
        return "paused" if self.told.get("paused") and status == "in_progress" else status.replace("_", " ")

    def used(self) -> str:
        """Say what it took until now."""
        tokens_in, tokens_out = self.told.get("input_tokens", 0), self.told.get("output_tokens", 0)
        text = f"{tokens_in:,} tokens in, {tokens_out:,} out"
        return f"{text}, ${self.told['cost']:,.4f}" if self.told.get("cost") else text

    def outcomes(self) -> str:
        """Say what became of the requests that are done; what nothing became of is left out."""
        counts = self.counts
        said = [f"{counts[name]:,} {name}" for name in OUTCOMES if counts[name] or name == "succeeded"]
        return ", ".join(said)

    def sentence(self) -> str:
        """Say it in a line."""
        if self.ended:
            return f"{self.id} ended: {self.outcomes()} of {self.total:,}; {self.used()}"
        return (
            f"{self.id} {self.state}: {self.done:,} of {self.total:,} done, {self.outcomes()}; {self.used()}"
        )


class Watching:
    """Shows how a batch goes on: a bar on a terminal, else a line for every tenth of it and half a minute."""

    def __init__(self, out: Console, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.fields[state]}"),
            *pace(),
            console=out,
            disable=quiet or not out.is_terminal,
        )
        self._begun: tuple[float, int] | None = None
        self._told: tuple[int, str] | None = None
        self._at = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, stand: Stand) -> None:
        """Show where it stands now."""
        if self._quiet:
            return
        if self._out.is_terminal:
            self._move(stand)
        else:
            self._print(stand)

    def say(self, text: str) -> None:
        """Say something beside it."""
        if not self._quiet:
            self._out.print(plain(text), soft_wrap=True)

    def _move(self, stand: Stand) -> None:
        if not self._bar.tasks:
            self._bar.add_task("", total=stand.total, completed=stand.done, state=stand.state)
        described = f"{stand.failed:,} failed, {stand.used()}"
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=stand.done, description=described, state=stand.state)

    def _print(self, stand: Stand) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun = (now, stand.done)
        mark = (10 * stand.done // max(stand.total, 1), stand.state)
        if mark != self._told or now - self._at >= _LINE_SECONDS:
            self._told, self._at = mark, now
            self._out.print(plain(stand.sentence() + self._pace(stand, now)), soft_wrap=True)

    def _pace(self, stand: Stand, now: float) -> str:
        """Say how fast it went since the first look, and what is left at this pace."""
        begun, done = self._begun or (now, stand.done)
        if stand.done in {done, stand.total} or now <= begun:
            return ""
        rate = (stand.done - done) / (now - begun)
        return f"; {rate:,.1f}/s, {span((stand.total - stand.done) / rate)} left"


def upload_bar(out: Console, *, quiet: bool) -> Progress:
    """Give the bar of an upload."""
    return Progress(
        TextColumn("uploading"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=out,
        disable=quiet or not out.is_terminal,
        transient=True,
    )


def download_bar(out: Console, *, quiet: bool) -> Progress:
    """Give the bar of results being fetched, counted in lines."""
    return Progress(
        TextColumn("results"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        console=out,
        disable=quiet or not out.is_terminal,
        transient=True,
    )


def show_status(told: Any) -> None:
    """Print where a batch stands, and what failed first."""
    out, stand = console(), Stand(told)
    rows = [("state", stand.state), ("requests", f"{stand.total:,}"), ("done", f"{stand.done:,}")]
    rows += [(name, f"{stand.counts[name]:,}") for name in OUTCOMES]
    rows += [
        ("tokens in", f"{told.get('input_tokens', 0):,}"),
        ("tokens out", f"{told.get('output_tokens', 0):,}"),
        ("cost", f"${told.get('cost', 0):,.4f}"),
        ("created", _moment(told.get("created_at"))),
        ("ended", _moment(told.get("ended_at"))),
        ("expires", _moment(told.get("expires_at"))),
    ]
    name = told.get("name")
    out.print(facts(f"{stand.id} {plain(name)}" if name else stand.id, rows))
    if url := told.get("run_url"):
        out.print(plain(f"In the Prefect UI: {url}"), soft_wrap=True)
    show_failures(told.get("failures") or [])


def show_failures(failures: list[Any]) -> None:
    """Print some of the requests that failed."""
    if not failures:
        return
    table = Table(title="Failed, some of them", title_justify="left")
    for heading in ("custom_id", "error", "message", "hash"):
        table.add_column(heading, overflow="fold")
    for one in failures[:_SHOWN_FAILURES]:
        keys = ("custom_id", "error_type", "message", "error_hash")
        table.add_row(*(plain(one.get(key) or "-") for key in keys))
    console().print(table)


def show_batches(batches: list[Any]) -> None:
    """Print batches, one a row."""
    table = Table(title=_count(len(batches), "batch", "batches"), title_justify="left")
    table.add_column("id", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for heading in ("requests", "succeeded", "failed"):
        table.add_column(heading, justify="right")
    table.add_column("created", no_wrap=True)
    for told in batches:
        stand = Stand(told)
        # outcomes are told when a batch has ended; until then all count as processing
        ended = (f"{stand.counts['succeeded']:,}", f"{stand.failed:,}") if stand.ended else ("-", "-")
        row = [f"{stand.total:,}", *ended]
        table.add_row(stand.id, stand.state, *row, _moment(told["created_at"]))
    console().print(table)


def _moment(text: str | None) -> str:
    """Give a time of the gateway's in the time zone of whoever reads it."""
    if not text:
        return "-"
    moment = datetime.fromisoformat(text)
    ago = (datetime.now(UTC) - moment).total_seconds()
    shown = moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{shown} ({span(ago)} ago)" if ago >= 0 else f"{shown} (in {span(ago)})"


def uploaded(count: int, bytes_sent: int) -> str:
    """Say how much was sent."""
    return f"{_count(count, 'request', 'requests')}, {size(bytes_sent)}"


def _count(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def counting_bar(out: Console) -> Progress:
    """Give the bar of a file whose tokens are counted."""
    columns = (TextColumn("counting tokens"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=out, disable=not out.is_terminal, transient=True)


def plan_table(plan: Plan) -> Table:
    """Show a plan, one model a row, and all of them together."""
    costs_in, costs_out, _ = plan.cost()
    table = Table(title=f"{plan.requests:,} requests", title_justify="left", show_footer=True)
    table.add_column("model", "all", overflow="fold")
    columns = {
        "requests": f"{plan.requests:,}",
        "tokens in": f"{plan.tokens_in:,}",
        "tokens out, at most": f"{plan.tokens_out:,}",
        "cost in": _dollars(costs_in),
        "cost out, at most": _dollars(costs_out),
        "cost, at most": _dollars(costs_in + costs_out),
    }
    for heading, total in columns.items():
        table.add_column(heading, total, justify="right")
    for one in sorted(plan.models.values(), key=lambda one: -one.requests):
        both = None if one.cost_in is None else one.cost_in + (one.cost_out or 0.0)
        costs = (_dollars(cost) for cost in (one.cost_in, one.cost_out, both))
        table.add_row(
            plain(one.model), f"{one.requests:,}", f"{one.tokens_in:,}", f"{one.tokens_out:,}", *costs
        )
    return table


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:,.4f}"


def schedules_table(found: list[Scheduled]) -> Table:
    """Show schedules, one a row."""
    table = Table(title=_count(len(found), "schedule", "schedules"), title_justify="left")
    for heading in ("name", "when", "next run", "last run", "file"):
        table.add_column(heading, overflow="fold")
    for one in found:
        coming = "paused" if one.paused else _moment(one.next.isoformat() if one.next else None)
        name = f"{one.name} (on {one.machine})" if one.machine else one.name
        table.add_row(*map(plain, (name, one.when, coming, one.last or "-", one.file)))
    return table
