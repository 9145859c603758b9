"""The file that a batch is made of: found, unpacked, looked through before anything is sent."""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from wire.batch_file import EMPTY, body_of, requests_of, survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wire.batch_file import Request, Survey

_GZIP = b"\x1f\x8b"
STDIN = "-"


class BadFile(Exception):
    """No batch can be made of the file; `lines` say why, the first faults by their places.

    `outline` says it where nothing of the file may be quoted: how many faults, and where.
    """

    def __init__(self, *lines: str, outline: str | None = None) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.outline = "\n".join(lines) if outline is None else outline


@dataclass(frozen=True, slots=True)
class BatchInput:
    """A file that was looked through and is good. `name` is its own, for people."""

    name: str
    file: BinaryIO
    model: str | None
    found: Survey

    def body(self) -> Iterator[bytes]:
        """Give the body that makes a batch of it, in pieces."""
        return body_of(self.file, self.model)

    def requests(self) -> Iterator[Request]:
        """Give its requests, one by one."""
        return requests_of(self.file, self.model)

    def where(self, number: int) -> str:
        """Give the place of a request, counted from 0; its number if the file has no so many."""
        places = (one.where for place, one in enumerate(self.requests()) if place == number)
        return next(places, f"requests.{number}")


@contextmanager
def batch_input(source: str, model: str | None = None) -> Iterator[BatchInput]:
    """Open `source`, a path or `-` for standard input, plain or gzipped; raises BadFile.

    Standard input is kept in a temporary file meanwhile: it is read twice.
    """
    with _opened(source) as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
        try:
            found = survey(plain, model)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            broken = f"{_shown(source)}: the gzip file is broken"
            raise BadFile(f"{broken}: {error}", outline=broken) from None
        except OSError as error:
            raise BadFile(f"{_shown(source)}: {error.strerror or error}") from None
        if found.faults:
            raise BadFile(*_faults(source, found), outline=_outline(source, found))
        yield BatchInput(_name(source), plain, model, found)


def _opened(source: str) -> BinaryIO:
    """Open a file that can be read twice: what cannot, a pipe, is copied."""
    try:
        if source == STDIN:
            return _copy_of(sys.stdin.buffer)
        file = Path(source).open("rb")  # noqa: SIM115 - given away
        if file.seekable():
            return file
        with file:
            return _copy_of(file)
    except OSError as error:
        raise BadFile(f"{_shown(source)}: {error.strerror or error}") from None


def _copy_of(file: BinaryIO) -> BinaryIO:
    kept = cast(BinaryIO, tempfile.TemporaryFile(prefix="headgate-batch-"))  # noqa: SIM115 - given away
    try:
        shutil.copyfileobj(file, kept)
        kept.seek(0)
    except BaseException:
        kept.close()
        raise
    return kept


def _faults(source: str, found: Survey) -> list[str]:
    lines = [f"{_shown(source)}: {fault}" for fault in found.wrong]
    more = found.faults - len(found.wrong)
    return [*lines, f"and {more:,} faults more"] if more else lines


def _outline(source: str, found: Survey) -> str:
    if found.wrong == [EMPTY]:
        return f"{_shown(source)}: {EMPTY}"
    count = "1 fault" if found.faults == 1 else f"{found.faults:,} faults"
    places = ", ".join(fault.where for fault in found.wrong if fault.where)
    more = ", …" if found.faults > len(found.wrong) else ""
    return f"{_shown(source)}: {count}{': ' if places else ''}{places}{more}"


def _shown(source: str) -> str:
    return "standard input" if source == STDIN else source


def _name(source: str) -> str:
    return "stdin" if source == STDIN else Path(source).name
