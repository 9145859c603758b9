"""Claude Code's billing line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.requests import request, text
from wire.billing import unbilled

LINE = "x-anthropic-billing-header: cc_version=2.1.330; cch=0af31;"


@pytest.mark.parametrize(
    ("system", "kept"),
    [
        (LINE, None),
        (f"{LINE}\n\nBe kind.", "Be kind."),
        ([text(LINE)], None),
        ([text(LINE), text("Be kind.", citations=None)], [text("Be kind.", citations=None)]),
        ([text(f"{LINE}\nBe kind.", n=1)], [text("Be kind.", n=1)]),
    ],
)
def test_the_line_goes(system: Any, kept: Any) -> None:
    body = request(system=system)
    without = request() if kept is None else request(system=kept)
    assert unbilled(body) == without
    assert body == request(system=system)


@pytest.mark.parametrize("system", [None, [], "", "Be kind.", [text("Be kind."), text(f" {LINE}")]])
def test_without_it_the_request_is_the_same_object(system: Any) -> None:
    body = request(system=system)
    assert unbilled(body) is body
    assert unbilled(bare := request()) is bare
