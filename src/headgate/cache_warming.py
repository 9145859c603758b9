"""`headgate cache warm`: a file of requests, sent to the gateway in parts, and what became of each line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from headgate.cache_client import CacheClient

_MOST_AT_A_TIME = 1000
_MOST_BYTES = 16 * 1024 * 1024
_OUTCOMES = ("stored", "present", "unfit", "failed")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: its number, from 1, and the request's bytes."""

    number: int
    text: bytes


@dataclass(slots=True)
class Warmed:
    """What was done so far; `errors` name their lines."""

    total: int
    done: int = 0
    stored: int = 0
    present: int = 0
    unfit: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def sentence(self) -> str:
        """Say it."""
        told = f"{self.done:,} of {self.total:,} done: {self.stored:,} stored, {self.present:,} there before"
        if self.unfit:
            told += f", {self.unfit:,} answered but not fit to be stored"
        return told + (f", {self.failed:,} failed" if self.failed else "")


def read_lines(file: Iterable[bytes]) -> tuple[list[Line], list[str]]:
    """Read requests, one JSON object a line, and what is wrong, with the lines' numbers. Empty lines pass."""
    lines, wrong = [], []
    for number, raw in enumerate(file, 1):
        text = raw.strip()
        if not text:
            continue
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            wrong.append(f"line {number}: no JSON: {error.msg} at character {error.colno}")
            continue
        if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
            wrong.append(
                f"line {number}: no Messages request, which has `model`, `max_tokens` and `messages`"
            )
        lines.append(Line(number, text))
    return lines, wrong


def parts(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Give the lines in parts that a gateway takes at once."""
    part: list[Line] = []
    left = _MOST_BYTES
    for line in lines:
        if part and (len(part) == _MOST_AT_A_TIME or len(line.text) > left):
            yield part
            part, left = [], _MOST_BYTES
        part.append(line)
        left -= len(line.text)
    if part:
        yield part


def warm(
    client: CacheClient,
    lines: Sequence[Line],
    warmed: Warmed,
    how: Mapping[str, Any],
    tell: Callable[[dict[str, Any] | None], None],
) -> None:
    """Have every line's answer stored. `warmed` is kept true throughout, whatever is raised.

    `how` is the rest of the endpoint's body. `tell` is called at every step, with an error if one is new.
    Raises Unanswered.
    """
    for part in parts(lines):
        before = {name: getattr(warmed, name) for name in ("done", *_OUTCOMES)}
        body = orjson.dumps(
            {**how, "requests": [orjson.Fragment(line.text) for line in part], "stream": True}
        )
        for event in client.events("warm", body):
            if event["type"] != "progress":
                continue
            for name, count in before.items():
                setattr(warmed, name, count + event[name])
            tell(_noted(event.get("error"), part, warmed))


def _noted(error: dict[str, Any] | None, part: Sequence[Line], warmed: Warmed) -> dict[str, Any] | None:
    """Note an error under the number of its line."""
    if error is None:
        return None
    told = {"line": part[error["request"]].number, "type": error["type"], "message": error["message"]}
    warmed.errors.append(told)
    return told
