"""Files given to `headgate batch`: looked through, and refused with every fault."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.batch_input import BatchInput


@contextmanager
def looked_through(source: str, model: str | None, otherwise: str) -> Iterator[BatchInput]:
    """Give a file that is good. Otherwise say every fault, and that nothing was done; ends with 2."""
    from tasks.batch_input import BadFile, batch_input  # noqa: PLC0415 - see above

    try:
        with batch_input(source, model) as given:
            yield given
    except BadFile as error:
        for line in error.lines:
            typer.echo(f"headgate: {line}", err=True)
        typer.echo(otherwise, err=True)
        raise typer.Exit(2) from None
