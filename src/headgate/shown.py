"""How the commands show things: where, in which units, and what came from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Task

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_WIDTH = 120


def pace() -> tuple[ProgressColumn, ...]:
    """Give the columns of a bar that say how far it is, how fast, how long it takes yet, and what else."""
    return (
        BarColumn(), MofNCompleteColumn(), Rate(), TextColumn("left"), TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )  # fmt: skip


def console(*, stderr: bool = False) -> Console:
    """Give where to print: as wide as the terminal, else wide enough that nothing is cut."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH)


def plain(value: Any) -> Text:
    """Give what came from elsewhere as it may be printed: no markup, nothing that steers a terminal."""
    return Text("".join(char if char.isprintable() else "·" for char in str(value)))


def size(count: float | None) -> str:
    """Give a number of bytes as people read it."""
    if count is None:
        return "-"
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def span(seconds: float) -> str:
    """Give a time in its two largest units."""
    whole = int(abs(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def facts(title: str, rows: list[tuple[str, str]]) -> Table:
    """Give a table of names and figures."""
    table = Table(title=title, title_justify="left", show_header=False, min_width=44)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    return table


class Rate(ProgressColumn):
    """Requests a second."""

    def render(self, task: Task) -> Text:
        """Show it, once it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s")
