"""Every place that can raise, from the source, with what became of it, from what servers wrote down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordinators.raise_sites import all_sites, sites_of
from express.origins import ROOT

if TYPE_CHECKING:
    from coordinators.error_reading import ErrorReader, Seen
    from coordinators.raise_sites import Site

_AROUND = 5


def registry(reader: ErrorReader) -> list[dict[str, Any]]:
    """Give a row for each place: those in the source, then those only seen, the most frequent first.

    A row has the site's fields and `count`, `first`, `last`. Steps and `except` sites count what was raised
    in their function; a place that was only seen has the kind `seen`.
    """
    seen = reader.tally()
    by_function = _by_function(seen)
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    for site in all_sites():
        row = site.to_dict()
        if site.hash is not None:
            known.add(site.hash)
            row |= _counts([seen[site.hash]] if site.hash in seen else [])
        else:
            row |= _counts(by_function.get((site.module, site.function), []))
        rows.append(row)
    only_seen = [one for name, one in seen.items() if name not in known]
    rows += [{"kind": "seen", **one.summary()} for one in only_seen]
    return sorted(rows, key=lambda row: -row["count"])


def sites_with(name: str, file: str | None) -> list[Site]:
    """Give the sites with this hash, of one file of ours where that is known, else of all."""
    if file is None:
        return [site for site in all_sites() if site.hash == name]
    path = (ROOT / file).resolve()
    if not path.is_relative_to(ROOT) or not path.is_file() or path.suffix != ".py":
        return []
    return [site for site in sites_of({file: path.read_text(encoding="utf-8")}) if site.hash == name]


def code_around(file: str, line: int, around: int = _AROUND) -> list[tuple[int, str]]:
    """Give the numbered lines around a place of ours; none for a file that is not ours or not there."""
    path = (ROOT / file).resolve()
    if not path.is_relative_to(ROOT) or path.suffix != ".py":
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    first = max(1, line - around)
    return list(enumerate(lines[first - 1 : line + around], first))


def _by_function(seen: dict[str, Seen]) -> dict[tuple[str, str], list[Seen]]:
    found: dict[tuple[str, str], list[Seen]] = {}
    for one in seen.values():
        place = (str(one.record.get("module")), str(one.record.get("function")))
        found.setdefault(place, []).append(one)
    return found


def _counts(seen: list[Seen]) -> dict[str, Any]:
    return {
        "count": sum(one.count for one in seen),
        "first": min((one.first for one in seen), default=None),
        "last": max((one.last for one in seen), default=None),
    }
