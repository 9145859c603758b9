"""What requests did lately: the last of them, and sums by the minute, from their lines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from os import SEEK_END
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from coordinators.line_files import set_aside
from coordinators.request_log import request_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from coordinators.observing import Ending
    from coordinators.scrubbing import Scrubber

Line = dict[str, Any]

ROWS = 50
MINUTES = 60
_MODELS = 12
_TIMES = 500
_WAITING = 2000
_TAIL = 2 * 1024 * 1024
_AT_ONCE = 16 * 1024 * 1024


class Source(Protocol):
    """Where requests' lines come from, the oldest first. `all_workers`: not only this process's."""

    all_workers: bool

    def take(self) -> list[Line]:
        """Give what is new since the last time. It may read files."""
        ...


class RecentEndings:
    """Keeps the lines of this process's last requests (`Source`, `coordinators.observing.Observer`)."""

    all_workers = False

    def __init__(self, scrubber: Scrubber) -> None:
        self._lines: deque[Line] = deque(maxlen=_WAITING)
        self._scrubber = scrubber

    def ended(self, ending: Ending) -> None:
        """Keep the request's line."""
        self._lines.append(request_line(ending, self._scrubber))

    def take(self) -> list[Line]:
        """Give those that ended since the last time."""
        return [self._lines.popleft() for _ in range(len(self._lines))]


class RequestTail:
    """Follows the instance's request log, through its rotations (`Source`)."""

    all_workers = True

    def __init__(self, path: Path, most: int = _TAIL) -> None:
        self._path = path
        self._most = most
        self._inode = -1
        self._at = 0

    def take(self) -> list[Line]:
        """Give the lines since the last time; after a long time those of the last two megabytes."""
        return list(self._read())

    def _read(self) -> Iterator[Line]:
        try:
            inode = self._path.stat().st_ino
        except OSError:
            return
        if inode != self._inode:
            yield from self._rest_of_the_last()
            self._inode, self._at = inode, 0
        yield from self._lines_of(self._path)

    def _rest_of_the_last(self) -> Iterator[Line]:
        """Read what was written to the file before it was set aside; at first, its end."""
        for path in set_aside(self._path)[:1]:
            if self._inode in (-1, path.stat().st_ino):
                yield from self._lines_of(path)

    def _lines_of(self, path: Path) -> Iterator[Line]:
        try:
            with path.open("rb") as file:
                self._at = max(self._at, file.seek(0, SEEK_END) - self._most)
                file.seek(self._at)
                data = file.read(_AT_ONCE)
        except OSError:
            return
        whole = data.rfind(b"\n") + 1
        self._at += whole
        for line in data[:whole].splitlines():
            try:
                read = orjson.loads(line)
            except orjson.JSONDecodeError:  # begun in its midst, or torn by a full disk
                continue
            if isinstance(read, dict) and isinstance(read.get("time"), str):
                yield read


@dataclass(slots=True)
class Minute:
    """Sums over the requests that ended within a minute. Times are in milliseconds, costs in dollars."""

    requests: int = 0
    failed: int = 0
    times: list[float] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    costs: dict[str, float] = field(default_factory=dict)

    def copy(self) -> Minute:
        """Give one that does not go on."""
        return replace(self, times=self.times.copy(), costs=self.costs.copy())


class Lately:
    """The last requests, and sums over the last hour.

    One thread at a time refreshes; who asks meanwhile gets copies of what there is.
    """

    def __init__(self, source: Source) -> None:
        self.all_workers = source.all_workers
        self.rows: deque[Line] = deque(maxlen=ROWS)
        self._source = source
        self._minutes: dict[str, Minute] = {}
        self._models: set[str] = set()

    def refresh(self) -> None:
        """Take what is new. It may read files."""
        for line in self._source.take():
            self.rows.append(line)
            self._sum_up(line)
        first = _minute(datetime.now(UTC) - timedelta(minutes=MINUTES))
        for name in [name for name in self._minutes if name < first]:
            del self._minutes[name]

    def minutes(self) -> list[tuple[str, Minute]]:
        """Give the last hour's minutes by their time in UTC (`18:25`), oldest first, the empty ones too."""
        now = datetime.now(UTC)
        names = [_minute(now - timedelta(minutes=back)) for back in range(MINUTES - 1, -1, -1)]
        return [
            (name[11:16], minute.copy() if (minute := self._minutes.get(name)) is not None else Minute())
            for name in names
        ]

    def latencies(self) -> Mapping[str, float]:
        """Give the median of each backend's last good answers, in milliseconds."""
        times: dict[str, list[float]] = {}
        for row in list(self.rows):
            if row.get("status") == 200 and row.get("backend") and row.get("cache") != "hit":
                times.setdefault(str(row["backend"]), []).append(number(row.get("ms")))
        return {name: round(median(found), 1) for name, found in times.items()}

    def _sum_up(self, line: Line) -> None:
        minute = self._minutes.setdefault(str(line["time"])[:16], Minute())
        minute.requests += 1
        minute.failed += number(line.get("status")) >= 400
        if len(minute.times) < _TIMES:
            minute.times.append(number(line.get("ms")))
        if line.get("cache") == "hit" or str(line.get("flow", "")).startswith("count"):
            return  # nobody was asked, nothing was paid
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            minute.input_tokens += int(number(line.get(name)))
        minute.output_tokens += int(number(line.get("output_tokens")))
        if cost := number(line.get("cost_usd")):
            model = self._named(str(line.get("model") or "?"))
            minute.costs[model] = minute.costs.get(model, 0.0) + cost

    def _named(self, model: str) -> str:
        """Give the model's name, or `others`: clients may name any number of them."""
        if model not in self._models and len(self._models) >= _MODELS:
            return "others"
        self._models.add(model)
        return model


def number(value: Any) -> float:
    """Give a number from a line; 0 for what is none."""
    return float(value) if isinstance(value, int | float) else 0.0


def _minute(time: datetime) -> str:
    return time.isoformat()[:16]
