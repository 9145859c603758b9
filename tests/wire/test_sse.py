"""SSE frames, whatever the line ends and wherever the reads are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.answers import events_of
from wire import sse
from wire.errors import UpstreamFailed
from wire.sse import PING, Frame, SseDecoder, encode_event

STREAM = (
    b"\xef\xbb\xbf: a comment\n\nevent: error\ndata: {}\n\n\ndata:tight\n\nid: 7\nretry: 5\n\n"
    b'data: two\ndata: lines\n\nevent\ndata\n\ndata: {"a":"\xc3\xa9"}\n\ndata: left'
)
FRAMES = [
    Frame("error", b"{}"),
    Frame(None, b"tight"),
    Frame(None, b"two\nlines"),
    Frame("", b""),
    Frame(None, b'{"a":"\xc3\xa9"}'),
    Frame(None, b"left"),
]


def decoded(pieces: list[bytes]) -> list[Frame]:
    decoder = SseDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames + decoder.flush()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@given(cuts=st.lists(st.integers(0, len(STREAM) + 20), max_size=12))
def test_frames_do_not_depend_on_cuts_or_line_ends(end: bytes, cuts: list[int]) -> None:
    data = STREAM.replace(b"\n", end)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places)]
    assert decoded(pieces) == FRAMES


def test_a_frame_comes_as_soon_as_it_ends() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\r\n\r") == [Frame(None, b"1")]
    assert decoder.feed(b"\ndata: 2\n") == []
    assert decoder.feed(b"\n") == [Frame(None, b"2")]


def test_nothing_is_nothing() -> None:
    assert decoded([]) == []
    assert decoded([b"", b"\n\n\n", b"\r", b""]) == []


def test_a_frame_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LARGEST_FRAME", 100)
    decoder = SseDecoder()
    assert decoder.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(UpstreamFailed, match="more than 100 bytes"):
        decoder.feed(b"y" * 10)


def test_events_are_written_with_their_type() -> None:
    event = {"type": "content_block_stop", "index": 3}
    assert (
        encode_event(event) == b'event: content_block_stop\ndata: {"type":"content_block_stop","index":3}\n\n'
    )
    assert events_of(PING) == [{"type": "ping"}]
