"""ToolNames: short names that fit, never meet, and lead back."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from wire.names import LONGEST, ToolNames

FITS = re.compile(r"[a-zA-Z0-9_-]{1,64}")
LONG = "mcp__" + "a" * 70 + "__read"


def test_a_name_that_fits_stays() -> None:
    names = ToolNames.of(["Bash", "mcp__files__read"])
    assert names.short("Bash") == "Bash"
    assert names.original("Bash") == "Bash"


def test_a_long_name_is_cut_and_restored() -> None:
    names = ToolNames.of([LONG])
    short = names.short(LONG)
    assert len(short) == LONGEST
    assert short.startswith("mcp__aaa")
    assert names.original(short) == LONG


def test_odd_characters_are_replaced() -> None:
    names = ToolNames.of(["files.read/all ✓"])
    short = names.short("files.read/all ✓")
    assert short.startswith("files_read_all___")
    assert FITS.fullmatch(short)
    assert names.original(short) == "files.read/all ✓"


def test_a_short_name_is_the_same_whatever_else_is_there() -> None:
    assert ToolNames.of([LONG]).short(LONG) == ToolNames.of(["Bash", "a.b", LONG, "z" * 90]).short(LONG)


def test_a_name_not_announced_is_still_shortened() -> None:
    assert ToolNames.of([]).short(LONG) == ToolNames.of([LONG]).short(LONG)


def test_a_real_name_that_looks_like_the_short_one_is_left_alone() -> None:
    short = ToolNames.of([LONG]).short(LONG)
    names = ToolNames.of([LONG, short])
    assert names.short(short) == short
    assert names.original(short) == short
    assert names.short(LONG) != short
    assert names.original(names.short(LONG)) == LONG


def test_an_unknown_name_is_itself() -> None:
    assert ToolNames.of(["a"]).original("never_heard_of") == "never_heard_of"


@given(st.lists(st.text(min_size=1, max_size=130)))
def test_names_fit_differ_and_lead_back(originals: list[str]) -> None:
    names = ToolNames.of(originals)
    shorts = {names.short(name) for name in originals}
    assert all(FITS.fullmatch(short) for short in shorts)
    assert len(shorts) == len(set(originals))
    assert [names.original(names.short(name)) for name in originals] == originals
