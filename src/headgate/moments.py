"""Times as they are written on the command line: ISO 8601 in UTC, or so long ago, or from now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d{1,6})([smhd])")


def ago(text: str) -> datetime:
    """Give the time; a span (`7d`) is that long ago. Raises typer.BadParameter."""
    return _moment(text, -1)


def ahead(text: str) -> datetime:
    """Give the time; a span is that long from now. Raises typer.BadParameter."""
    return _moment(text, 1)


def _moment(text: str, direction: int) -> datetime:
    try:
        if span := _SPAN.fullmatch(text):
            return datetime.now(UTC) + direction * timedelta(seconds=int(span[1]) * _UNITS[span[2]])
        then = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time: give 2026-01-31, or a span as 2h, 7d") from None
    return then.replace(tzinfo=UTC) if then.tzinfo is None else then.astimezone(UTC)
