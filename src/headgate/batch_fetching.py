"""Fetching results: to standard output as they come, to a file that appears when it is whole."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from headgate.batch_view import download_bar
from headgate.shown import console
from wire.batch_openai import openai_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headgate.batch_client import BatchClient
    from headgate.batch_view import Stand

Form = Literal["anthropic", "openai"]


def fetch(client: BatchClient, stand: Stand, output: str, form: Form, *, quiet: bool) -> None:
    """Write the results of an ended batch to a file or to `-`; raises Unanswered and OSError."""
    pieces = client.results(stand.id)
    if form == "openai":
        ended = int(datetime.fromisoformat(stand.told["ended_at"]).timestamp())
        pieces = (openai_result(line, ended) for line in _lines(client.results(stand.id)))
    if output == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            _write(file, pieces, stand, quiet=quiet)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if not quiet:
        console(stderr=True).print(f"Wrote {stand.total:,} results to {output}", soft_wrap=True, markup=False)


def _write(file: BinaryIO, pieces: Iterator[bytes], stand: Stand, *, quiet: bool) -> None:
    with download_bar(console(stderr=True), quiet=quiet) as bar:
        task = bar.add_task("", total=stand.total)
        for piece in pieces:
            file.write(piece)
            bar.advance(task, piece.count(b"\n"))


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest
